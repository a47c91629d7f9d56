// The list of voices, and a voice of one's own with the record of consent.

import { keepVoice, voices } from "./api.js";

const $ = (id) => document.getElementById(id);
const NEEDED = [
  ["clip", "a recording"], ["label", "a name"], ["who", "whose voice it is"], ["purpose", "what it is for"],
  ["expires", "a day"],
];

export async function listVoices(chosen) {
  const { data } = await voices();
  const options = data.filter((voice) => voice.usable).map((voice) => {
    const more = voice.expires ? `until ${voice.expires}` : voice.description;
    return new Option(more ? `${voice.name}: ${more}` : voice.name, voice.id);
  });
  $("voice").replaceChildren(new Option("Any voice", ""), ...options);
  if (chosen && options.some((option) => option.value === chosen)) $("voice").value = chosen;
}

export function ownVoices() {
  const year = new Date();
  year.setFullYear(year.getFullYear() + 1);
  $("expires").value = year.toISOString().slice(0, 10);
  $("keep").addEventListener("click", keep);
}

async function keep() {
  const say = (words, bad = false) => {
    $("kept").textContent = words;
    $("kept").classList.toggle("bad", bad);
  };
  const missing = NEEDED.filter(([id]) => !$(id).value.trim());
  if (missing.length) return say(`Missing: ${missing.map(([, what]) => what).join(", ")}.`, true);
  if (!$("agree").checked) return say("Without the person's consent a voice cannot be kept.", true);
  const form = new FormData();
  form.set("clip", $("clip").files[0]);
  form.set("name", $("label").value.trim());
  if ($("statement").value) form.set("statement", $("statement").files[0]);
  for (const field of ["who", "purpose", "expires"]) form.set(field, $(field).value.trim());
  $("keep").disabled = true;
  say("Sending it…");
  try {
    const voice = await keepVoice(form);
    await listVoices(voice.id);
    say(`“${voice.name}” is in the list of voices until ${voice.expires}.`);
  } catch (error) {
    say(error.message, true);
  } finally {
    $("keep").disabled = false;
  }
}
