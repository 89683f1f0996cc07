"""Tables for a paper: scores and paired differences in LaTeX with booktabs, everything escaped."""

from __future__ import annotations

from collections.abc import Sequence

from bench.images.published import published_images_table
from bench.images.sampler_table import sampler_tables
from bench.report.blocks import Table
from bench.report.chapters import Chapter
from bench.report.comparisons import compare, headline_metric, metrics_of, step_text
from bench.report.rows import Keys, TableRow, read_keys, table_rows
from bench.report.text import direction, estimate_text, readout_name, short_names, shortened_note
from bench.results.scores import UNFINISHED

__all__ = ["escape_latex", "render_latex"]

_ESCAPES = {
    "\\": r"\textbackslash{}",
    "{": r"\{",
    "}": r"\}",
    "&": r"\&",
    "%": r"\%",
    "$": r"\$",
    "#": r"\#",
    "_": r"\_",
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
    "<": r"\textless{}",
    ">": r"\textgreater{}",
    "|": r"\textbar{}",
    '"': r"\textquotedbl{}",
    "β": r"$\beta$",
    "γ": r"$\gamma$",
    "κ": r"$\kappa$",
    "−": "$-$",
    "×": r"$\times$",
    "≠": r"$\neq$",
    "²": r"\textsuperscript{2}",
    "—": "---",
    "–": "--",
    "…": r"\dots{}",
    "↓": r"$\downarrow$",
    "↑": r"$\uparrow$",
    "→": r"$\rightarrow$",
    "∞": r"$\infty$",
    "±": r"$\pm$",
    "\n": " ",
}
_HEAD = "% Needs \\usepackage{booktabs}, \\usepackage[T1]{fontenc} and, for wide tables, \\usepackage{graphicx}."


def escape_latex(text: str) -> str:
    """Text that stays text in LaTeX, whatever it holds; square brackets are kept from being read as options."""
    escaped = "".join(_ESCAPES.get(sign, sign) for sign in text)
    return f"{{}}{escaped}" if escaped.startswith("[") else escaped


def render_latex(chapters: Sequence[Chapter]) -> str:
    """Scores and paired differences of every dataset of images or densities, of images the paper's cells too, and samplers across
    datasets; latent chains judged and unfinished runs are left to Markdown.
    """
    parts = [_HEAD]
    for chapter in chapters:
        if not chapter.about_chains:
            parts += [part for part in (_scores(chapter), _differences(chapter), _published(chapter)) if part]
    parts += [_block(table, f"tab:samplers-{number}") for number, table in enumerate(sampler_tables(chapters), 1)]
    if len(parts) == 1:
        parts.append("% No scores of samples or densities yet.")
    return "\n\n".join(parts) + "\n"


def _scores(chapter: Chapter) -> str:
    known = [row for row in chapter.rows if row.status != UNFINISHED]
    keys, rows = read_keys(known), table_rows(known)
    if not rows:
        return ""
    header = ["Model", "Samples from", "Steps", *map(_metric, short_names(keys.metrics).values()), "$n$"]
    lines = []
    for row in rows:
        steps = "---" if row.steps is None else f"{row.steps:,}".replace(",", r"\,")
        cells = [_cell(row, metric, keys) for metric in keys.metrics]
        lines.append([escape_latex(row.label), escape_latex(_name(row)), steps, *cells, escape_latex(row.n)])
    caption = (
        f"Scores on {escape_latex(chapter.section.dataset)} (suite {escape_latex(chapter.section.suite)}, profile "
        f"{escape_latex(chapter.section.profile)}): means over $n$ seeds with 95\\,\\% Student-$t$ intervals. "
        + escape_latex("; ".join(filter(None, [shortened_note(keys.metrics).rstrip("."), *keys.legend()])))
        + "."
    )
    return _table(header, lines, "llr" + "r" * len(keys.metrics) + "r", caption, f"tab:{_slug(chapter)}-scores")


def _differences(chapter: Chapter) -> str:
    section = chapter.section
    headline = headline_metric(section)
    metrics = metrics_of([score for score in section.scores if score.sampler != "data"], density=False)
    found = compare(section, metrics)
    if not found or headline is None:
        return ""
    treatments = {each.treatment for each in found}
    lines = []
    for start in range(0, len(found), len(metrics)):
        group = found[start : start + len(metrics)]
        first = next(each for each in group if each.metric == headline)
        treatment = first.treatment
        size = step_text(treatment, treatments)
        name = f"{treatment.label} {readout_name(treatment.sampler, treatment.beta)}{size}, {treatment.steps} steps"
        cells = [
            escape_latex(estimate_text(each.difference.estimate) if each.difference else each.why_not) for each in group
        ]
        pairs = str(len(first.difference.seeds)) if first.difference else "0"
        reference = "its own base" if first.own_base else first.reference.label
        lines.append([escape_latex(name), escape_latex(reference), *cells, pairs, first.reading])
    caption = (
        f"Paired differences on {escape_latex(section.dataset)} over shared seeds with 95\\,\\% Student-$t$ intervals, at the "
        f"longest chain; the reading is for {escape_latex(headline)}."
    )
    header = ["Samples", "Minus", *map(_metric, short_names(metrics).values()), "Pairs", "Reading"]
    return _table(header, lines, "ll" + "r" * len(metrics) + "rl", caption, f"tab:{_slug(chapter)}-differences")


def _published(chapter: Chapter) -> str:
    table = None if chapter.about_likelihoods else published_images_table(chapter)
    return _block(table, f"tab:{_slug(chapter)}-published") if table else ""


def _block(block: Table, label: str) -> str:
    """A table of the report as it is, its notes and legend in the caption."""
    lines = [[escape_latex(f"{cell.code} {cell}".strip()) for cell in row] for row in block.rows]
    spec = "".join("r" if column.numeric else "l" for column in block.columns)
    said = " ".join([f"{block.title}.", *block.notes, *block.legend])
    return _table([escape_latex(column.name) for column in block.columns], lines, spec, escape_latex(said), label)


def _table(header: Sequence[str], lines: Sequence[Sequence[str]], columns: str, caption: str, label: str) -> str:
    body = [f"    {' & '.join(line)} \\\\" for line in lines]
    return "\n".join(
        [
            r"\begin{table}[t]",
            r"  \centering",
            f"  \\caption{{{caption}}}",
            f"  \\label{{{label}}}",
            r"  \resizebox{\linewidth}{!}{%",
            f"  \\begin{{tabular}}{{{columns}}}",
            r"    \toprule",
            f"    {' & '.join(header)} \\\\",
            r"    \midrule",
            *body,
            r"    \bottomrule",
            r"  \end{tabular}}",
            r"\end{table}",
        ]
    )


def _cell(row: TableRow, metric: str, keys: Keys) -> str:
    return escape_latex(row.text(metric, keys))


def _metric(name: str) -> str:
    sign = (r" $\downarrow$", "", r" $\uparrow$")[direction(name) + 1]
    return escape_latex(name) + sign


def _name(row: TableRow) -> str:
    size = f", step {row.step_size:g}" if row.ambiguous and row.step_size is not None else ""
    return readout_name(row.sampler, row.beta) + size


def _slug(chapter: Chapter) -> str:
    section = chapter.section
    return "".join(sign if sign.isalnum() else "-" for sign in f"{section.suite}-{section.dataset}".lower()).strip("-")
