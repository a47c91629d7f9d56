"use strict";
// One clip at a time. The server knows where the listener is; this page only shows it and sends scores.

const KEY = "calm-listening-session";
const SHARE = 0.8; // of a clip must be heard before it is scored
const WAITS = [0, 500, 1500, 4000]; // milliseconds before each try of a request
const $ = (id) => document.getElementById(id);
const make = (id) => $(id).content.cloneNode(true);

let session = remembered();
let trial = null;

function remembered() {
  try { return localStorage.getItem(KEY); } catch { return null; }
}

function remember(token) {
  session = token;
  try { token ? localStorage.setItem(KEY, token) : localStorage.removeItem(KEY); } catch { /* this visit only */ }
}

// Requests may be repeated: the same score twice is one score.
async function ask(path, body) {
  for (const wait of WAITS) {
    await new Promise((resume) => setTimeout(resume, wait));
    try {
      const reply = await fetch(path, body === undefined
        ? { headers: { "X-Session": session || "" } }
        : { method: "POST", headers: { "Content-Type": "application/json" }, body: JSON.stringify(body) });
      if (reply.ok) return await reply.json();
      if (reply.status < 500) throw Object.assign(new Error("refused"), { status: reply.status });
    } catch (error) {
      if (error.status) throw error;
    }
  }
  throw new Error("no answer");
}

class Player {
  constructor(place) {
    place.append(make("player"));
    this.place = place;
    this.button = place.querySelector("button");
    this.audio = place.querySelector("audio");
    this.ring = place.querySelector(".done");
    this.time = place.querySelector(".time");
    this.heard = () => {};
    this.button.addEventListener("click", () => this.toggle());
    for (const name of ["play", "pause", "ended", "timeupdate", "loadedmetadata", "seeked"]) {
      this.audio.addEventListener(name, () => this.draw());
    }
    for (const name of ["waiting", "playing", "canplay", "loadstart"]) {
      this.audio.addEventListener(name, () => place.classList.toggle("waiting", name === "waiting" || name === "loadstart"));
    }
    this.audio.addEventListener("error", () => this.audio.hasAttribute("src") && say("The clip cannot be played. Reload this page.", true));
  }

  load(address) {
    this.audio.pause();
    this.audio.src = address;
    this.told = false;
    this.draw();
  }

  stop() {
    this.audio.pause();
    this.audio.removeAttribute("src");
  }

  toggle() {
    if (this.audio.paused) {
      this.audio.play().catch(() => {});
      this.follow();
    } else {
      this.audio.pause();
    }
  }

  follow() {
    this.draw();
    if (!this.audio.paused) requestAnimationFrame(() => this.follow());
  }

  share() {
    if (!(this.audio.duration > 0)) return 0;
    let seconds = 0;
    for (let i = 0; i < this.audio.played.length; i += 1) seconds += this.audio.played.end(i) - this.audio.played.start(i);
    return seconds / this.audio.duration;
  }

  draw() {
    const { currentTime, duration, paused, ended } = this.audio;
    const known = duration > 0 && Number.isFinite(duration);
    const playing = !paused && !ended;
    this.place.classList.toggle("playing", playing);
    this.button.setAttribute("aria-label", playing ? "Pause" : this.told ? "Play again" : "Play");
    this.ring.style.strokeDashoffset = known ? 1 - currentTime / duration : 1;
    this.time.textContent = known ? `${currentTime.toFixed(1)} / ${duration.toFixed(1)} s` : "\u00a0";
    if (!this.told && known && (ended || this.share() >= SHARE)) {
      this.told = true;
      this.heard();
    }
  }
}

const players = Object.fromEntries(["volume", "trial"].map((id) => [id, new Player($(id).querySelector("[data-player]"))]));

function show(id, focus) {
  for (const section of document.querySelectorAll("main > section")) section.hidden = section.id !== id;
  for (const name of Object.keys(players)) if (name !== id) players[name].stop();
  $("count").hidden = $("progress").hidden = !["trial", "thanks"].includes(id);
  window.scrollTo(0, 0);
  (focus || $(id).querySelector("h1")).focus({ preventScroll: true });
  document.documentElement.dataset.shown = id;
}

function say(text, bad = false) {
  $("status").textContent = text;
  $("status").classList.toggle("bad", bad);
}

function progress(done, total) {
  $("count").textContent = done < total ? `${done + 1} of ${total}` : `${total} of ${total}`;
  $("progress").max = total;
  $("progress").value = done;
}

function display(reply) {
  if (reply.done) {
    trial = null;
    progress(reply.total, reply.total);
    $("code").textContent = reply.code;
    show("thanks");
    return;
  }
  trial = { token: reply.trial, heard: false, saving: 0, questions: reply.questions.map((question) => ({ ...question })) };
  progress(reply.position - 1, reply.total);
  document.body.className = `task-${reply.task}`;
  $("heading").textContent = `Clip ${reply.position}`;
  $("described").hidden = reply.text === null;
  $("text").textContent = reply.text || "";
  $("questions").replaceChildren(...trial.questions.map(ask_question));
  players.trial.heard = open;
  players.trial.load(`audio/${trial.token}`);
  say("Listen to the end, then give your score.");
  if (trial.questions.some((question) => question.score !== null)) open(); // scored before a reload: it was heard
  update();
  show("trial", players.trial.button);
}

function ask_question(question) {
  const part = make("question");
  part.querySelector("legend").textContent = question.ask;
  question.field = part.querySelector("fieldset");
  question.inputs = question.labels.map((label, index) => {
    const choice = make("score");
    const input = choice.querySelector("input");
    Object.assign(input, { name: question.key, value: index + 1, checked: question.score === index + 1 });
    choice.querySelector("b").textContent = index + 1;
    choice.querySelector("i").textContent = label;
    input.addEventListener("change", () => score(question, index + 1));
    part.querySelector(".scale").append(choice);
    return input;
  });
  return part;
}

function open() {
  trial.heard = true;
  for (const question of trial.questions) question.field.disabled = false;
  say(matchMedia("(hover: hover)").matches ? "Give your score: click, or press 1 to 5." : "Give your score.");
}

async function score(question, value) {
  const mine = trial;
  question.wanted = value;
  if (question.busy) return; // what is chosen meanwhile is sent afterwards
  question.busy = true;
  mine.saving += 1;
  update();
  try {
    while (question.score !== question.wanted) {
      const sent = question.wanted;
      await ask("api/rating", { session, trial: mine.token, question: question.key, score: sent });
      question.score = sent;
    }
    if (mine === trial) say(mine.questions.every((q) => q.score !== null) ? "Saved." : "Saved. One more question.");
  } catch {
    question.inputs.forEach((input, index) => { input.checked = question.score === index + 1; });
    if (mine === trial) say("The score could not be saved. Please try again.", true);
  }
  question.busy = false;
  mine.saving -= 1;
  update();
}

function update() {
  if (trial) $("next").disabled = trial.saving > 0 || trial.questions.some((question) => question.score === null);
}

async function attempt(work) {
  try {
    await work();
  } catch (error) {
    if (error.status === 404) { remember(null); show("intro"); return; } // another test, or a folder begun anew
    $("retry").onclick = () => attempt(work);
    show("trouble");
  }
}

const resume = () => attempt(async () => display(await ask("api/next")));

$("start").addEventListener("click", () => {
  players.volume.heard = () => { $("loud").disabled = false; };
  players.volume.load("audio/volume");
  show("volume", players.volume.button);
});
$("loud").addEventListener("click", () => attempt(async () => {
  if (!session) remember((await ask("api/session", {})).session);
  display(await ask("api/next"));
}));
$("form").addEventListener("submit", (event) => {
  event.preventDefault();
  if ($("next").disabled) return;
  $("next").disabled = true;
  const done = trial.token;
  attempt(async () => display(await ask("api/next", { session, trial: done })));
});
$("again").addEventListener("click", () => {
  remember(null);
  $("loud").disabled = true;
  document.body.className = "";
  show("intro");
});

document.addEventListener("keydown", (event) => {
  if (event.ctrlKey || event.metaKey || event.altKey || event.repeat) return;
  const shown = document.documentElement.dataset.shown;
  const interactive = event.target.closest("button, input, a");
  if (event.key === " " && players[shown] && !interactive) {
    event.preventDefault();
    players[shown].toggle();
  }
  if (shown !== "trial" || !trial) return;
  if (/^[1-5]$/.test(event.key) && trial.heard) {
    const focused = trial.questions.find((question) => question.field.contains(document.activeElement));
    const empty = trial.questions.find((question) => question.score === null && !question.busy);
    const question = empty || focused || trial.questions[trial.questions.length - 1];
    const input = question.inputs[Number(event.key) - 1];
    input.checked = true;
    input.focus();
    score(question, Number(event.key));
  }
  if (event.key === "Enter" && event.target.closest("button") === null && !$("next").disabled) {
    event.preventDefault();
    $("form").requestSubmit();
  }
});

session ? resume() : show("intro");
