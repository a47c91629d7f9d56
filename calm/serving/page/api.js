// The server's routes, as this page uses them. Errors carry the server's own sentence.

const PCM_RATE = 24000; // of response_format "pcm", whatever the model's own rate

const KEY = "audiocalm-key"; // kept until the tab is closed

export const setKey = (key) => sessionStorage.setItem(KEY, key);

function send(path, options = {}) {
  const key = sessionStorage.getItem(KEY);
  return fetch(path, { ...options, headers: { ...options.headers, ...(key && { authorization: `Bearer ${key}` }) } });
}

async function refusal(response) {
  let message = `${response.status} ${response.statusText}`;
  try {
    message = (await response.json()).error.message;
  } catch { /* not ours: a proxy's page */ }
  return Object.assign(new Error(message), { status: response.status });
}

async function ask(path, options) {
  const response = await send(path, options);
  if (!response.ok) throw await refusal(response);
  return response;
}

const json = async (path, options) => (await ask(path, options)).json();

export const models = () => json("v1/models");
export const voices = () => json("v1/audio/voices");
// Kept as the text that was signed.
export const record = async (id) => (await ask(`v1/audio/records/${encodeURIComponent(id)}`)).text();
export const keepVoice = (form) => json("v1/audio/voices", { method: "POST", body: form });

// Ask for audio; returns what is known at the start, and the pieces as they come.
export async function speech(wish, signal) {
  const response = await ask("v1/audio/speech", {
    method: "POST",
    headers: { "content-type": "application/json" },
    body: JSON.stringify({ ...wish, response_format: "pcm", stream_format: "audio" }),
    signal,
  });
  const of = (name) => response.headers.get(name);
  return {
    rate: PCM_RATE,
    seed: Number(of("x-seed")),
    record: of("x-record-id"),
    pieces: pieces(response.body.getReader()),
  };
}

async function* pieces(reader) {
  for (;;) {
    const { done, value } = await reader.read();
    if (done) return;
    yield value;
  }
}
