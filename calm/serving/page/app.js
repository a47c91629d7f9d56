// The form: what is asked, heard while it comes, then kept in the list. A link carries all that was asked.

import { models, record, setKey, speech } from "./api.js";
import { EXAMPLES, LABELS } from "./examples.js";
import { card } from "./made.js";
import { Player, Samples } from "./sound.js";
import { Spectrogram } from "./spectrogram.js";
import { listVoices, ownVoices } from "./voices.js";

const $ = (id) => document.getElementById(id);
const form = $("ask");
const FIELDS = ["text", "voice", "instructions", "duration", "negative_prompt", "seed", "steps", "cfg_scale"];
const OF_AUDIO = ["duration", "negative_prompt"];
const OF_TASK = { speech: ["voice", "instructions"], sound: OF_AUDIO, music: OF_AUDIO };
const NUMBERS = ["duration", "seed", "steps", "cfg_scale"];
let running = null, player = null;

const task = () => form.elements.task.value;

function say(words, bad = false) {
  $("status").textContent = words;
  $("status").classList.toggle("bad", bad);
}

function showTask() {
  form.className = `task-${task()}`;
  for (const part of document.querySelectorAll("[data-for]")) {
    part.hidden = !part.dataset.for.split(" ").includes(task());
  }
  $("text-label").textContent = LABELS[task()];
  $("examples").replaceChildren(...EXAMPLES[task()].map((text) => {
    const chip = Object.assign(document.createElement("button"), { type: "button", textContent: text });
    chip.addEventListener("click", () => ($("text").value = text));
    return chip;
  }));
}

const showSeconds = () => ($("seconds").textContent = `${Number($("duration").value).toFixed(1)} s`);

// What the form asks for, as the route takes it. The seed is chosen here, so that a link repeats the result.
function asked() {
  const ask = { task: task(), input: $("text").value.trim() };
  const others = Object.entries(OF_TASK).filter(([name]) => name !== ask.task).flatMap(([, names]) => names);
  for (const name of FIELDS.slice(1)) {
    const value = $(name).value.trim();
    const foreign = others.includes(name) && !OF_TASK[ask.task].includes(name);
    if (value !== "" && !foreign) ask[name] = NUMBERS.includes(name) ? Number(value) : value;
  }
  ask.seed ??= Math.floor(Math.random() * 2 ** 31);
  return ask;
}

function linkOf(ask) {
  const { input, ...rest } = ask;
  return `#${new URLSearchParams({ text: input, ...rest })}`;
}

function readLink() {
  const given = new URLSearchParams(location.hash.slice(1));
  const chosen = form.querySelector(`input[name=task][value="${CSS.escape(given.get("task") ?? "")}"]`);
  if (chosen) chosen.checked = true;
  for (const name of FIELDS) if (given.has(name)) $(name).value = given.get(name);
  showTask();
  showSeconds();
  return given.get("voice");
}

async function make() {
  const ask = asked(), began = performance.now(), stop = new AbortController();
  running = stop;
  $("go").disabled = true;
  $("stop").hidden = false;
  say("Waiting for the first sound…");
  player?.stop(); // two clips at once are heard as one
  let clip = null;
  try {
    const answer = await speech(ask, stop.signal);
    ask.seed = answer.seed;
    player = new Player(answer.rate);
    const spectrogram = new Spectrogram($("growing"), answer.rate);
    clip = { answer, samples: new Samples(), spectrogram, firstAudio: null };
    await hear(clip, began);
    player.finish();
  } catch (error) {
    player?.stop();
    if (error.name !== "AbortError") say(error.message, true);
    else if (clip === null) say("Stopped.");
  }
  if (clip?.samples.count) await keep(ask, clip, stop.signal.aborted);
  $("now").hidden = true;
  $("go").disabled = false;
  $("stop").hidden = true;
  running = null;
}

async function hear(clip, began) {
  for await (const bytes of clip.answer.pieces) {
    const samples = clip.samples.push(bytes);
    if (!samples.length) continue;
    clip.firstAudio ??= (performance.now() - began) / 1000;
    $("now").hidden = false;
    player.push(samples);
    clip.spectrogram.push(samples);
    const strip = $("growing").parentElement;
    strip.scrollLeft = clip.spectrogram.columns - strip.clientWidth;
    say(`${(clip.samples.count / clip.answer.rate).toFixed(1)} s, the first after ${clip.firstAudio.toFixed(1)} s`);
  }
}

async function keep(ask, clip, stopped) {
  const { answer, samples, spectrogram, firstAudio } = clip, seconds = samples.count / answer.rate;
  const signed = stopped ? null : await record(answer.record).catch(() => null); // the server keeps the newest only
  const made = card({
    ask, seconds, firstAudio, spectrogram, rate: answer.rate, wav: samples.wav(answer.rate), record: signed,
    reason: stopped ? "cancelled" : signed && JSON.parse(signed).record.finish_reason, link: linkOf(ask),
  });
  made.querySelector("audio").addEventListener("play", () => player.stop());
  $("history").prepend(made);
  $("empty").hidden = true;
  if (!$("status").classList.contains("bad")) say(stopped ? "Stopped." : `Done: ${seconds.toFixed(1)} s.`);
}

form.addEventListener("submit", (event) => {
  event.preventDefault();
  if (running === null) make();
});
$("stop").addEventListener("click", () => running?.abort());
$("duration").addEventListener("input", showSeconds);
for (const choice of form.querySelectorAll("input[name=task]")) choice.addEventListener("change", showTask);
window.addEventListener("hashchange", readLink);
$("unlock").addEventListener("submit", (event) => {
  event.preventDefault();
  setKey($("key").value);
  begin();
});

// What the server has to offer; a server with a key is asked again once there is one.
async function begin() {
  try {
    const { data } = await models();
    $("model").textContent = `Model: ${data.map(({ id }) => id).join(", ")}.`;
    await listVoices(voice);
    $("unlock").hidden = true;
  } catch (error) {
    if (error.status !== 401) return say(error.message, true);
    if (!$("unlock").hidden) $("refused").textContent = error.message;
    $("unlock").hidden = false;
  }
}

ownVoices();
const voice = readLink();
begin();
