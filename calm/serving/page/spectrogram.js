// A spectrogram that grows with the sound: one column of pixels per hop, low frequencies at the bottom.

const WINDOW = 512;
const ROWS = 160;
const FLOOR_DB = -80;
export const COLUMNS_PER_SECOND = 100;

const STOPS = [[0, 0, 4], [59, 15, 112], [140, 41, 129], [222, 73, 104], [254, 159, 109], [252, 253, 191]];
const COLOURS = Array.from({ length: 256 }, (_, i) => {
  const place = (i / 255) * (STOPS.length - 1);
  const low = Math.min(Math.floor(place), STOPS.length - 2);
  return STOPS[low].map((value, k) => value + (place - low) * (STOPS[low + 1][k] - value));
});
const HANN = Float32Array.from({ length: WINDOW }, (_, n) => 0.5 - 0.5 * Math.cos((2 * Math.PI * n) / WINDOW));

// In-place radix-2 FFT of a power of two.
function fft(real, imaginary) {
  const n = real.length;
  for (let i = 1, j = 0; i < n; i++) {
    let bit = n >> 1;
    for (; j & bit; bit >>= 1) j ^= bit;
    j ^= bit;
    if (i < j) {
      [real[i], real[j]] = [real[j], real[i]];
      [imaginary[i], imaginary[j]] = [imaginary[j], imaginary[i]];
    }
  }
  for (let size = 2; size <= n; size *= 2) {
    const half = size / 2;
    for (let k = 0; k < half; k++) {
      const c = Math.cos((-2 * Math.PI * k) / size), s = Math.sin((-2 * Math.PI * k) / size);
      for (let a = k; a < n; a += size) {
        const b = a + half;
        const x = real[b] * c - imaginary[b] * s, y = real[b] * s + imaginary[b] * c;
        real[b] = real[a] - x;
        imaginary[b] = imaginary[a] - y;
        real[a] += x;
        imaginary[a] += y;
      }
    }
  }
}

// Rows are spaced like mel: about linear below 700 Hz, logarithmic above.
function edges(rate) {
  const mel = (hz) => Math.log(1 + hz / 700);
  const top = mel(rate / 2);
  return Array.from({ length: ROWS + 1 }, (_, row) => (700 * (Math.exp((top * row) / ROWS) - 1) * WINDOW) / rate);
}

export class Spectrogram {
  constructor(canvas, rate) {
    this.canvas = canvas;
    this.hop = Math.round(rate / COLUMNS_PER_SECOND);
    this.edges = edges(rate);
    this.waiting = new Float32Array(WINDOW / 2); // silence before the start, so that column 0 is time 0
    this.columns = 0;
    canvas.width = 300;
    canvas.height = ROWS;
    this.context = canvas.getContext("2d");
  }

  push(samples) {
    const all = new Float32Array(this.waiting.length + samples.length);
    all.set(this.waiting);
    all.set(samples, this.waiting.length);
    let start = 0;
    for (; start + WINDOW <= all.length; start += this.hop) this.#column(all.subarray(start, start + WINDOW));
    this.waiting = all.slice(start);
  }

  // The picture as it is, without the part that is not filled yet.
  copyTo(canvas) {
    canvas.width = Math.max(1, this.columns);
    canvas.height = ROWS;
    canvas.getContext("2d").drawImage(this.canvas, 0, 0);
  }

  #column(frame) {
    if (this.columns >= this.canvas.width) this.#widen();
    const real = frame.map((value, n) => value * HANN[n]), imaginary = new Float32Array(WINDOW);
    fft(real, imaginary);
    const pixels = this.context.createImageData(1, ROWS);
    for (let row = 0; row < ROWS; row++) {
      const low = Math.floor(this.edges[row]), high = Math.max(low + 1, Math.ceil(this.edges[row + 1]));
      let power = 0;
      for (let k = low; k < high; k++) power = Math.max(power, real[k] ** 2 + imaginary[k] ** 2);
      const level = 10 * Math.log10(power / (WINDOW / 4) ** 2 + 1e-12);
      const colour = COLOURS[Math.round(255 * Math.min(1, Math.max(0, 1 - level / FLOOR_DB)))];
      pixels.data.set([...colour, 255], 4 * (ROWS - 1 - row));
    }
    this.context.putImageData(pixels, this.columns++, 0);
  }

  #widen() {
    const old = document.createElement("canvas");
    this.copyTo(old);
    this.canvas.width *= 2; // this empties it
    this.context.drawImage(old, 0, 0);
  }
}
