// PCM that is heard while it arrives, and kept as a WAV file.

const LEAD_SECONDS = 0.15; // heard so long after it has come, so that a late piece leaves no gap

export class Player {
  constructor(rate) {
    this.rate = rate;
    this.context = new AudioContext();
    this.sources = [];
    this.next = 0;
    this.started = null;
    this.gaps = 0;
  }

  push(samples) {
    if (!samples.length) return;
    const buffer = this.context.createBuffer(1, samples.length, this.rate);
    buffer.copyToChannel(samples, 0);
    const source = this.context.createBufferSource();
    source.buffer = buffer;
    source.connect(this.context.destination);
    if (this.next < this.context.currentTime) {
      if (this.started !== null) this.gaps++;
      this.next = this.context.currentTime + LEAD_SECONDS;
    }
    this.started ??= this.next;
    source.start(this.next);
    this.next += buffer.duration;
    this.sources.push(source);
  }

  // Let what has come be heard to its end, then free the device.
  finish() {
    const last = this.sources.at(-1);
    if (last === undefined || this.next <= this.context.currentTime) this.stop();
    else last.onended = () => this.stop();
  }

  stop() {
    for (const source of this.sources) source.onended = null;
    if (this.context.state !== "closed") this.context.close();
  }
}

// Little-endian 16-bit PCM in pieces of any length -> samples in -1..1.
export class Samples {
  constructor() {
    this.odd = null; // half a sample
    this.pieces = [];
    this.count = 0;
  }

  push(bytes) {
    let whole = bytes;
    if (this.odd !== null) {
      whole = new Uint8Array(bytes.length + 1);
      whole[0] = this.odd;
      whole.set(bytes, 1);
    }
    this.odd = whole.length % 2 ? whole.at(-1) : null;
    const view = new DataView(whole.buffer, whole.byteOffset, whole.length - (whole.length % 2));
    const samples = new Float32Array(view.byteLength / 2);
    for (let n = 0; n < samples.length; n++) samples[n] = view.getInt16(2 * n, true) / 32768;
    this.pieces.push(new Uint8Array(view.buffer, view.byteOffset, view.byteLength));
    this.count += samples.length;
    return samples;
  }

  wav(rate) {
    const size = 2 * this.count, header = new DataView(new ArrayBuffer(44));
    const word = (place, letters) => [...letters].forEach((c, k) => header.setUint8(place + k, c.charCodeAt(0)));
    word(0, "RIFF"); header.setUint32(4, 36 + size, true); word(8, "WAVEfmt ");
    header.setUint32(16, 16, true); header.setUint16(20, 1, true); header.setUint16(22, 1, true);
    header.setUint32(24, rate, true); header.setUint32(28, 2 * rate, true);
    header.setUint16(32, 2, true); header.setUint16(34, 16, true);
    word(36, "data"); header.setUint32(40, size, true);
    return new Blob([header.buffer, ...this.pieces], { type: "audio/wav" });
  }
}
