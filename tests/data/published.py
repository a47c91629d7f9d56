"""Small public sets, written exactly as they are published: names of folders and files, columns, quoting."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import soundfile

RATE = 16000


def tone(path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    soundfile.write(path, 0.1 * np.sin(np.arange(1600) / 5), RATE)


def text(path: Path, content: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(content, encoding="utf-8")


def libritts(root: Path) -> None:
    text(root / "SPEAKERS.txt", "; ID | SEX | SUBSET | MINUTES | NAME\n103 | F | train-clean-100 | 25.1 | Karen\n")
    for split, reader in (("train-clean-100", "103"), ("dev-clean", "84")):
        for number in (0, 1):
            stem = root / split / reader / "1240" / f"{reader}_1240_000000_{number:06d}"
            tone(stem.with_suffix(".wav"))
            text(stem.with_suffix(".original.txt"), f'"Doctor Lynde, number {number}!"')
            text(stem.with_suffix(".normalized.txt"), f'"Doctor Lynde,  number {number}!"')
        text(root / split / reader / "1240" / f"{reader}_1240.trans.tsv", "not\tread\n")
    (root / "dev-clean/84/1240/84_1240_000000_000001.wav").unlink()


def librispeech(root: Path) -> None:
    text(root / "SPEAKERS.TXT", ";ID  |SEX| SUBSET |MINUTES| NAME\n84   | M | dev-clean | 8.02 | Christie\n")
    lines = ["GO TO THE SHORE AND I WILL SWIM", "HE SAID I'M HERE", "LOST"]
    folder = root / "dev-clean/84/121123"
    text(folder / "84-121123.trans.txt", "".join(f"84-121123-{n:04d} {line}\n" for n, line in enumerate(lines)))
    for number in (0, 1):
        tone(folder / f"84-121123-{number:04d}.flac")


def ljspeech(root: Path) -> None:
    rows = ['LJ001-0001|Printing, in 1450, "as it is|Printing, in fourteen fifty, "as it is', "LJ001-0002|in|in", "LJ9|a|a"]
    text(root / "metadata.csv", "\n".join(rows) + "\n")
    for number in (1, 2):
        tone(root / f"wavs/LJ001-{number:04d}.wav")


def audiocaps(root: Path) -> None:
    header = "audiocap_id,youtube_id,start_time,caption\n"
    text(root / "dataset/train.csv", header + '91139,r1nicOVtvkQ,130,"A woman talks, water pours"\n58146,UDG,20,Gone\n')
    text(root / "dataset/val.csv", header + "1,-abc,20,A dog barks\n2,-abc,20,Barking of a dog\n3,-abc,20,A dog barks\n")
    tone(root / "train/r1nicOVtvkQ_130.wav")
    tone(root / "val/Y-abc.wav")


def clotho(root: Path) -> None:
    header = "file_name," + ",".join(f"caption_{n}" for n in range(1, 6)) + "\n"
    for split in ("development", "evaluation"):
        captions = ",".join(f'"{split}, take {n}"' for n in range(1, 6))
        text(root / f"clotho_captions_{split}.csv", f"{header}Rain (1).wav,{captions}\nGone.wav,{captions}\n")
        text(root / f"clotho_metadata_{split}.csv", "file_name,keywords\nRain (1).wav,rain;wet\n")
        tone(root / f"{split}/Rain (1).wav")
    tone(root / "development/Gone.wav")


def song_describer(root: Path) -> None:
    columns = "caption_id,track_id,caption,is_valid_subset,familiarity,artist_id,album_id,path,duration\n"
    rows = ["1,18500,Loose words,False,0,7,9,00/18500.mp3,200.1", "2,18500,A calm piano,True,0,7,9,00/18500.mp3,200.1"]
    text(root / "song_describer.csv", columns + "\n".join([*rows, "3,5,Lost song,True,0,7,9,05/5.mp3,99.0"]) + "\n")
    text(root / "audio_licenses.txt", "by")
    tone(root / "audio/00/18500.2min.mp3")


def musiccaps(root: Path) -> None:
    columns = "ytid,start_s,end_s,audioset_positive_labels,aspect_list,caption,author_id,is_balanced_subset,is_audioset_eval\n"
    aspects = "\"['low quality', 'sustained strings']\""
    rows = [
        f'-0Gj8,30,40,"/m/04rlf,/m/02mscn",{aspects},"Low, sad strings.",4,False,True',
        f'1abcd,0,10,"/m/04rlf",{aspects},Drums.,4,False,False',
        f'gone1,0,10,"/m/04rlf",{aspects},Nothing.,4,False,False',
    ]
    text(root / "musiccaps-public.csv", columns + "\n".join(rows) + "\n")
    tone(root / "audio/-0Gj8.wav")
    tone(root / "audio/[1abcd]-[0-10].wav")


WRITERS = {
    writer.__name__: writer
    for writer in (libritts, librispeech, ljspeech, audiocaps, clotho, song_describer, musiccaps)
}
