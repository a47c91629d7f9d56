export const EXAMPLES = {
  speech: [
    "The ferry leaves at seven, and the last one back is at ten.",
    "Good morning. Your train is on time today.",
    "It was raining, so we stayed at home and played cards.",
  ],
  sound: ["A bell rings three times.", "Rain falls on a roof.", "A dog barks twice."],
  music: ["A slow piano piece.", "A quick tune with flute and drums.", "Calm strings at 80 beats per minute."],
};

export const LABELS = { speech: "What is said", sound: "What is heard", music: "What is played" };
