# SPDX-License-Identifier: MIT
"""What the cases have given: as text, as Markdown, and as a plot."""
import pathlib
import shutil
import statistics
import subprocess

import peers
from common import Skipped
from sides import PREFORKD, machine

HERE = pathlib.Path(__file__).resolve().parent


def short(number):
    if number is None:
        return "–"
    if abs(number) >= 1000:
        return "{:,.0f}".format(number)
    return "%.0f" % number if abs(number) >= 100 else "%.3g" % number


def median(rounds, figure):
    there = [r[figure] for r in rounds if figure in r]
    return statistics.median(there) if there else None


# ---- targets --------------------------------------------------------------------------


def judge(target, sides):
    """What became of a target, as a dictionary; None where its reference was skipped."""
    first = target.side or next(iter(sides))
    if target.of and target.of not in sides:
        return None
    ours = [r[target.figure] for r in sides[first]]
    theirs = [r[target.figure] for r in sides[target.of]] if target.of else [1] * len(ours)
    values = [a / b for a, b in zip(ours, theirs)]
    value = statistics.median(values)
    what = "%s%s" % (target.side + ": " if target.side else "", target.figure)
    return {"what": what, "target": str(target), "value": value, "low": min(values),
            "high": max(values), "met": bool(target.met(value))}


def verdict(judged):
    spread = "%s to %s" % (short(judged["low"]), short(judged["high"]))
    return "%s (%s)" % (short(judged["value"]), spread), "met" if judged["met"] else "MISSED"


# ---- tables: a list of rows, the first of which is the head ---------------------------------


def sides_table(sides):
    """The medians of each side's figures."""
    figures = list(dict.fromkeys(f for rounds in sides.values() for r in rounds for f in r))
    rows = [["", *figures]]
    for name, rounds in sides.items():
        rows.append([name, *(short(median(rounds, f)) for f in figures)])
    return rows


def print_table(rows):
    widths = [max(len(row[i]) for row in rows) for i in range(len(rows[0]))]
    for row in rows:
        cells = (cell.rjust(w) for cell, w in zip(row[1:], widths[1:]))
        print("  " + "  ".join([row[0].ljust(widths[0]), *cells]), flush=True)


def markdown_table(rows, left=1):
    """The first columns to the left, the others to the right."""
    line = "| " + " | ".join(["---"] * left + ["--:"] * (len(rows[0]) - left)) + " |"
    texts = ["| " + " | ".join(row) + " |" for row in rows]
    return "\n".join([texts[0], line, *texts[1:]])


def print_case(result):
    print_table(sides_table(result["sides"]))
    for judged in result["targets"]:
        print("  %s, target %s: %s: %s" % (judged["what"], judged["target"], *verdict(judged)))
    print(flush=True)


# ---- Markdown -----------------------------------------------------------------------------


def versions():
    """Of everything that is compared, in lines."""
    r = subprocess.run([PREFORKD, "--version"], stdout=subprocess.PIPE, check=True, text=True)
    lines = ["preforkd: %s" % r.stdout.split("\n", maxsplit=1)[0]]
    for peer in peers.PEERS:
        with_setting = "%s: %%s; %s" % (peer.name, peer.setting)
        try:
            lines.append(with_setting % peer.version())
        except Skipped:
            lines.append(with_setting % "not here")
    return lines


def markdown(results):
    rows = [["case", "of", "target", "median (least to most)", ""]]
    for name, result in results.items():
        for judged in result["targets"]:
            value, word = verdict(judged)
            word = word if judged["met"] else "**%s**" % word
            rows.append(["`%s`" % name, judged["what"], judged["target"], value, word])
    parts = [
        "# Results",
        "Written by `bench/run --write`. A ratio is the median of those of the rounds, in each "
        "of which\nall sides of a case have their turn; see [NOTES.md](NOTES.md).",
        "\n".join("- " + line for line in machine() + versions()),
        "## Targets", markdown_table(rows, 3),
        "![Jobs a second, 32 outstanding](results.svg)",
    ]
    for name, result in results.items():
        parts += ["## `%s`" % name, result["text"] + ". %d rounds, %s." % (
            len(next(iter(result["sides"].values()))), result["date"])]
        parts.append(markdown_table(sides_table(result["sides"])))
    return "\n\n".join(parts) + "\n"


# ---- the plot -----------------------------------------------------------------------------

# On white, so that it can be read on any page.
PLOT = """
set terminal svg size 800,{height} dynamic font "sans-serif,13" background "#ffffff"
set output "{output}"
set title "Jobs a second: 4 workers, 32 jobs of 16 bytes outstanding (logarithmic scale)"
set logscale x
set xrange [{least}:*]
set yrange [-0.6:{last}.6]
set format x "%.0s%c"
set grid x linecolor "#cccccc"
set border 3 linecolor "#666666"
set tics nomirror textcolor "#333333"
set lmargin 26
unset key
set style fill solid
$data << END
{data}
END
plot $data using (0):0:({least}):2:($0-0.36):($0+0.36):4:ytic(1) \\
    with boxxyerror linecolor rgb variable, \\
  $data using 2:0:3 with labels left offset 0.6,0 textcolor "#333333"
"""
OURS, THEIRS = 0x1F6FB2, 0xA0A0A0


def bars(results):
    """name, jobs a second, is it preforkd: of the cases with 32 outstanding, the slowest first."""
    shown = {("unpipelined", side): side + ", 1 connection" for side in ("preforkd", "floor")}
    shown["connections", "preforkd"] = "preforkd, redis-benchmark"
    shown["connections", "preforkd, load"] = "preforkd, 32 connections"
    shown["connections", "floor"] = "floor, 32 connections"
    found = []
    for case in ("unpipelined", "connections"):
        for side, rounds in results.get(case, {"sides": {}})["sides"].items():
            name = shown.get((case, side), side if case == "connections" else None)
            if name:
                found.append((name, median(rounds, "jobs/s"), side.startswith("preforkd")))
    return sorted(found, key=lambda bar: bar[1])


def plot(results, path):
    if not shutil.which("gnuplot"):
        raise Skipped("gnuplot is not here (Debian: apt-get install gnuplot-nox)")
    found = bars(results)
    if not found:
        raise Skipped("the cases that it shows have not been run")
    data = "\n".join('"%s" %.1f "%s" %d' % (name, rate, short(rate), OURS if ours else THEIRS)
                     for name, rate, ours in found)
    least = 10 ** (len(str(int(min(rate for _, rate, _ in found)))) - 1)
    script = PLOT.format(output=path, data=data, least=least, last=len(found) - 1,
                         height=90 + 30 * len(found))
    subprocess.run(["gnuplot"], input=script, text=True, check=True)


def write(results):
    (HERE / "RESULTS.md").write_text(markdown(results), encoding="utf-8")
    try:
        plot(results, HERE / "results.svg")
    except Skipped as e:
        print("no plot: %s" % e)
