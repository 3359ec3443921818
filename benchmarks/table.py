"""The README's tables, made from results/*.json: python -m benchmarks.table [--check | --print]

Writes them between <!-- bench --> and <!-- /bench -->; --check writes nothing and fails if they are not up to date.
"""

import argparse
import json
import re
from collections.abc import Callable
from pathlib import Path
from statistics import median

from .peers import NETWORKS
from .quality import CONTENDERS, SCALES

RESULTS, README = Path(__file__).parent / "results", Path(__file__).parents[1] / "README.md"
WS = [str(w) for w in SCALES]
PLACE = re.compile(r"(<!-- bench -->\n).*?(<!-- /bench -->)", re.DOTALL)
# What is to be reached, and whether the scores of a row reach it
BARS = {
    "accuracy 0.99 at w = 2": lambda scores: scores["2"]["accuracy"] >= 0.99,
    "2.5 floors at the best of these w": lambda scores: min(scored["floors"] for scored in scores.values()) <= 2.5,
}


def spread(values: list[float], digits: int = 1) -> str:
    """[3, 1, 2] -> "2.0 (1.0 to 3.0)"; one value stands alone."""
    middle, low, high = (f"{value:,.{digits}f}" for value in (median(values), min(values), max(values)))
    return middle if len(values) == 1 else f"{middle} ({low} to {high})"


def machine(rows: list[dict]) -> str:
    """What the rows were measured on; every machine if they are from several."""
    seen = {
        f"{m['processor']}, {m['threads']} of {m['cores']} cores, torch {m['torch']}, diffusers {m['diffusers']}, "
        f"denoising-diffusion-pytorch {m['denoising-diffusion-pytorch']}, {'bf16' if m['bf16'] else 'float32'}"
        for m in (row["machine"] for row in rows)
    }
    others = [row["others"] for row in rows if row["others"] is not None]
    busy = f"; other programs kept up to {max(others):.2f} cores busy" if others else ""
    return " / ".join(sorted(seen)) + busy


def speed_table(results: dict) -> str:
    rows = results["rows"]
    ours = next(row for row in rows if row["network"] == "ours")
    lines = [
        f"| network | parameters | MMACs | training step, {results['batch']} pictures (ms) | pictures/s | of ours | "
        f"guided step, {results['digits']} digits (ms) | of ours |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for row in rows:
        train, sample = median(row["train_ms"]), median(row["sample_ms"])
        lines.append(
            f"| {NETWORKS[row['network']].title} | {row['parameters'] / 1e6:.2f}M | {row['mmacs']:.1f} | "
            f"{spread(row['train_ms'], 0)} | {1000 * results['batch'] / train:,.0f} | "
            f"{train / median(ours['train_ms']):.2f} | {spread(row['sample_ms'])} | "
            f"{sample / median(ours['sample_ms']):.2f} |"
        )
    notes = [f"{NETWORKS[row['network']].title}: {NETWORKS[row['network']].note}." for row in rows]
    about = f"Median (lowest to highest) of {len(ours['train_ms'])} rounds in turns, in one process. "
    about += f"The optimizer is part of the step: ours is {ours['optimizer']}, the others' AdamW. "
    return "\n".join([*lines, "", about + f"{machine([results])}.", "", " ".join(notes)])


def latest(rows: list[dict]) -> list[dict]:
    """Rows without changes of the recipe; of the same run measured twice, the later."""
    return list({(row["who"], row["planned"], row["seed"]): row for row in rows if not row["changes"]}.values())


def together(rows: list[dict]) -> dict[str, dict[float, list[dict]]]:
    """{who: {planned seconds: its rows}}, in the order of CONTENDERS and of length."""
    found = {}
    for who in CONTENDERS:
        mine = [row for row in rows if row["who"] == who]
        if mine:
            lengths = sorted({row["planned"] for row in mine})
            found[who] = {length: [row for row in mine if row["planned"] == length] for length in lengths}
    return found


def middle(rows: list[dict]) -> dict:
    """The scores of several seeds as one: each the median."""
    names = ("accuracy", "floors")
    return {w: {name: median(row["scores"][w][name] for row in rows) for name in names} for w in WS}


def reached(runs: dict[float, list[dict]], bar: Callable[[dict], bool]) -> float | None:
    """The shortest length whose median scores reach the bar, in seconds really taken; None: none of those tried."""
    good = [rows for rows in runs.values() if bar(middle(rows))]
    return median(row["seconds"] for row in good[0]) if good else None


def verdict(runs: dict[str, dict[float, list[dict]]], name: str) -> str:
    """A sentence: how soon each contender reached a bar."""
    parts, ours = [], reached(runs["ours"], BARS[name]) if "ours" in runs else None
    for who, mine in runs.items():
        longest = max(median(row["seconds"] for row in rows) for rows in mine.values())
        taken = reached(mine, BARS[name])
        text = f"{CONTENDERS[who].title} " + (f"after {taken:.0f} s" if taken else f"not within {longest:.0f} s")
        if ours and who != "ours" and (taken or longest > ours):
            text += f" ({'' if taken else 'more than '}{(taken or longest) / ours:.1f} times ours)"
        parts.append(text)
    return f"{name[0].upper()}{name[1:]}, at the shortest length tried: {'; '.join(parts)}."


def quality_table(rows: list[dict]) -> str:
    rows = latest(rows)
    runs = together(rows)
    lines = [
        f"| trained from scratch | seconds | pictures | right, w = {' | w = '.join(WS)} | "
        f"Fréchet, w = {' | w = '.join(WS)} | seeds |",
        "|---" * (4 + 2 * len(WS)) + "|",
    ]
    for who, lengths in runs.items():
        for same in lengths.values():
            columns = [spread([row["seconds"] for row in same], 0), f"{median(row['pictures'] for row in same):,.0f}"]
            for name, digits in (("accuracy", 4), ("floors", 2)):
                columns += [spread([row["scores"][w][name] for row in same], digits) for w in WS]
            seeds = ", ".join(str(seed) for seed in sorted(row["seed"] for row in same))
            lines.append(f"| {CONTENDERS[who].title} | {' | '.join(columns)} | {seeds} |")
    drawn = {(row["samples"], row["steps"], row["sampler"], row["floor"]["frechet"]) for row in rows}
    how = [f"n = {n:,}, {steps} {sampler} steps, floor {floor:.2f}" for n, steps, sampler, floor in sorted(drawn)]
    about = f"Median (lowest to highest) of the seeds; Fréchet distances as multiples of the floor; {' / '.join(how)}; "
    return "\n".join([*lines, "", f"{about}{machine(rows)}.", *(f"\n{verdict(runs, name)}" for name in BARS)])


def tables(folder: Path = RESULTS) -> str:
    """All that there are results for; empty if there are none."""
    found = []
    for name, make in (("speed", speed_table), ("quality", quality_table)):
        path = folder / f"{name}.json"
        if path.exists():
            found.append(make(json.loads(path.read_text(encoding="utf-8"))))
    return "\n\n".join(found)


def insert(text: str, table: str) -> str:
    """text with the table between the markers; ValueError if it has no markers."""
    if not PLACE.search(text):
        raise ValueError("no <!-- bench --> and <!-- /bench --> to put the table between")
    return PLACE.sub(lambda place: f"{place[1]}{table}\n{place[2]}", text, count=1)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    what = parser.add_mutually_exclusive_group()
    what.add_argument("--check", action="store_true", help="only say whether the README is up to date")
    what.add_argument("--print", action="store_true", help="only show the tables")
    args = parser.parse_args()
    table = tables()
    if args.print or not table:
        return print(table or "There are no results yet: run python -m benchmarks.speed.")
    text = README.read_text(encoding="utf-8")
    new = insert(text, table)
    if args.check and new != text:
        raise SystemExit("README.md is not up to date: run python -m benchmarks.table")
    if not args.check:
        README.write_text(new, encoding="utf-8")
        print(table)


if __name__ == "__main__":
    main()
