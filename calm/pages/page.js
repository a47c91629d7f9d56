// A line runs over the spectrogram while its clip plays; a click into the picture plays from there.
"use strict";
for (const figure of document.querySelectorAll(".player")) {
  const audio = figure.querySelector("audio");
  const picture = figure.querySelector(".spectrogram");
  const cursor = figure.querySelector(".cursor");
  const draw = () => {
    const share = audio.duration ? audio.currentTime / audio.duration : 0;
    cursor.style.left = `${100 * share}%`;
    cursor.style.opacity = share > 0 && share < 1 ? 1 : 0;
    if (!audio.paused) requestAnimationFrame(draw);
  };
  audio.addEventListener("play", () => {
    for (const other of document.querySelectorAll("audio")) if (other !== audio) other.pause();
    draw();
  });
  audio.addEventListener("seeked", draw);
  audio.addEventListener("ended", draw);
  picture.addEventListener("click", (event) => {
    const box = picture.getBoundingClientRect();
    const share = (event.clientX - box.left) / box.width;
    // A clip that was not fetched yet does not know its length.
    if (audio.duration) audio.currentTime = share * audio.duration;
    else audio.addEventListener("loadedmetadata", () => { audio.currentTime = share * audio.duration; }, { once: true });
    audio.play();
  });
}
document.documentElement.dataset.ready = "true";
