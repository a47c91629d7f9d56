// The server's routes, as this page uses them. Errors carry the server's own sentence.

const PCM_RATE = 24000; // of response_format "pcm", whatever the model's own rate

async function refusal(response) {
  let message = `${response.status} ${response.statusText}`;
  try {
    message = (await response.json()).error.message;
  } catch { /* not ours: a proxy's page */ }
  return new Error(message);
}

async function json(path, options) {
  const response = await fetch(path, options);
  if (!response.ok) throw await refusal(response);
  return response.json();
}

export const models = () => json("v1/models");
export const voices = () => json("v1/audio/voices");
export const record = (id) => json(`v1/audio/records/${encodeURIComponent(id)}`);
export const keepVoice = (form) => json("v1/audio/voices", { method: "POST", body: form });

// Ask for audio; returns what is known at the start, and the pieces as they come.
export async function speech(ask, signal) {
  const response = await fetch("v1/audio/speech", {
    method: "POST",
    headers: { "content-type": "application/json" },
    body: JSON.stringify({ ...ask, response_format: "pcm", stream_format: "audio" }),
    signal,
  });
  if (!response.ok) throw await refusal(response);
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
