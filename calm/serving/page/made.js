// One finished clip in the list: what was asked, the picture, the player, and the links.

export function card({ ask, wav, rate, seconds, firstAudio, spectrogram, reason, record, link }) {
  const made = document.createElement("article");
  made.className = `made task-${ask.task}`;
  const text = made.appendChild(document.createElement("p"));
  text.textContent = ask.input;
  const picture = made.appendChild(document.createElement("canvas"));
  picture.setAttribute("role", "img");
  picture.setAttribute("aria-label", `Spectrogram, 0 to ${rate / 2000} kHz, ${seconds.toFixed(1)} s`);
  spectrogram.copyTo(picture);
  const player = made.appendChild(document.createElement("audio"));
  player.controls = true;
  player.src = URL.createObjectURL(wav);

  const facts = made.appendChild(document.createElement("p"));
  facts.className = "facts";
  const say = (words) => (facts.appendChild(document.createElement("span")).textContent = words);
  say(`${seconds.toFixed(1)} s`);
  say(`heard after ${firstAudio.toFixed(1)} s`);
  say(`seed ${ask.seed}`);
  if (ENDINGS[reason]) say(ENDINGS[reason]);
  const name = `${ask.task}-${ask.seed}.wav`;
  facts.append(anchor("Download", player.src, { download: name }));
  if (record) {
    const file = new Blob([record], { type: "application/json" });
    facts.append(anchor("Signed record", URL.createObjectURL(file), { download: `${name}.provenance.json` }));
  }
  facts.append(anchor("Link to this", link));
  return made;
}

const ENDINGS = {
  max_length: "ended at the longest length allowed",
  silence: "ended because it went silent",
  repetition: "ended because it repeated itself",
  cancelled: "stopped",
  deadline: "ended by the time limit",
};

function anchor(words, address, more = {}) {
  const link = Object.assign(document.createElement("a"), { href: address, ...more });
  link.textContent = words;
  return link;
}
