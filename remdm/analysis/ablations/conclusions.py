"""The report in words: failure mode, evidence for its causes, statistical power, next steps."""

from collections.abc import Mapping
from pathlib import Path

from remdm.analysis.ablations.decision import TREE, decide, preventing
from remdm.analysis.ablations.hypotheses import NEXT_STEPS, NOT_SUPPORTED, SUPPORTED, UNMEASURED, Finding
from remdm.analysis.ablations.published import BEST, SCORES, mismatch
from remdm.analysis.ablations.runs import SCORE, Suite
from remdm.analysis.ablations.standing import (
    BETTER,
    COLLAPSE,
    IMPROVEMENT,
    NEUTRAL,
    UNDECIDED,
    WORSE,
    Standings,
    collapse_of,
)
from remdm.analysis.results import grouped
from remdm.analysis.statistics import ENUMERATED, attainable_floor, count_labellings
from remdm.config.arms import ARMS, BASELINE, GROUPS

ALPHA = 0.05


def conclude(
    suite: Suite, standings: Standings, findings: list[Finding], tables: Path, captions: Mapping[str, str]
) -> str:
    """The report in Markdown.

    Args:
        tables: the folder with the tables.
        captions: of the figures, by file name.
    """

    def table(name: str) -> str:
        return (tables / f"{name}.md").read_text(encoding="utf-8").strip()

    def figure(name: str) -> str:
        return f"![{captions[name]}](figures/{name}.png)"

    parts = [
        f"# RL fine-tuning ablations in {suite.env}",
        _extent(suite),
        "## Primary failure mode",
        _failure(suite, standings, findings),
        "## Statistical power",
        _seeds(suite, standings),
        "## Scores and verdicts",
        _verdicts(standings),
        table("results"),
        figure("scores"),
        "## Groups",
        table("groups"),
        _published(suite),
        "## Hypotheses, ranked",
        RANKING,
        table("hypotheses"),
        "## Evidence, ranked",
        table("evidence"),
        "## Next steps",
        _next_steps(suite, standings, findings),
        figure("decision_tree"),
        "## What each arm is for",
        table("arms"),
        "## Figures and tables",
        "\n".join(f"- [{caption}](figures/{name}.png)" for name, caption in captions.items()),
        "Tables are in `tables/` as CSV, LaTeX and Markdown, figures in `figures/` as PNG and PDF.",
    ]
    return "\n\n".join(parts) + "\n"


RANKING = (
    "SUPPORTED: at least half of the measured indicators speak for it, among them an arm that addresses it "
    f"and improves on {BASELINE} (an experiment; the others are correlates). SUGGESTED: one of the two. "
    "NOT SUPPORTED: neither. Ranked by that, then by the share of indicators. Indicators are of "
    f"{BASELINE}, means over seeds; their thresholds are conventions, listed below. The more arms address a "
    "hypothesis, the likelier one of them improves by chance."
)


def _extent(suite: Suite) -> str:
    """The runs of the suite, and those that are missing."""
    commits = sorted({run.commit for run in suite.all_runs})
    lines = [
        f"{len(suite.all_runs)} runs of {len(suite.runs)} of {len(ARMS)} arms; "
        f"seeds {', '.join(suite.seeds)}; commit {', '.join(commits)}."
    ]
    if len(commits) > 1:
        lines.append("What changed between these commits may be part of a difference.")
    if suite.missing:
        missing = ", ".join(f"{path.parent.name} {path.name}" for path in suite.missing)
        lines.append(f"**Missing** (failed or not finished): {missing}.")
    absent = [entry.name for entry in ARMS if entry.name not in suite.arms]
    if absent:
        lines.append(f"Not run: {', '.join(absent)}.")
    seeds = grouped(suite.all_runs, "replicate").items()
    uneven = [seed for seed, runs in seeds if len({run.pretrained.get(SCORE) for run in runs}) > 1]
    if uneven:
        lines.append(
            f"**The pretrained planner's score differs between arms of seed {', '.join(uneven)}**: its "
            f"checkpoint changed in between, or the devices differ. The mean is used."
        )
    return "\n".join(lines)


def _failure(suite: Suite, standings: Standings, findings: list[Finding]) -> str:
    """The fate of the baseline, and the hypothesis that explains it best."""
    baseline, pretrained = standings.baseline, standings.pretrained
    if baseline is None or pretrained is None:
        lacking = BASELINE if baseline is None else "the pretrained planner"
        return f"**Unknown**: {lacking} has no score, so whether fine-tuning collapses cannot be said."
    summary = f"The pretrained planner plays at {pretrained:.2f}; {BASELINE} ends at {baseline:.2f}"
    change = standings[BASELINE].to_pretrained
    if standings.scale > 0 and change is not None:
        value, low, high = (100 * x / standings.scale for x in change)
        summary += f", {value:+.0f} % of the larger of the two (95 %: {low:+.0f} to {high:+.0f})"
    if standings.collapse == UNDECIDED:
        return f"**Undecided.** {summary}. More worlds (`eval_num_envs`) or seeds would decide."
    if standings.collapse != COLLAPSE:
        word = "Fine-tuning improves the planner." if standings.collapse == IMPROVEMENT else "No collapse."
        return (
            f"**{word}** {summary}. There is no failure for the hypotheses to explain at this setting; their "
            f"indicators are signs of risk."
        )
    onset = collapse_of(suite, standings, BASELINE).iteration
    since = "" if onset is None else f" It is first more than 10 % below at iteration {onset:g}."
    top = findings[0]
    if top.verdict in (NOT_SUPPORTED, UNMEASURED):
        return f"**Collapse, unexplained.** {summary}.{since} No hypothesis has half of its indicators."
    title = "best supported" if top.verdict == SUPPORTED else "first suspect"
    experiment = (
        "an arm that addresses it improves on the baseline"
        if top.an_arm_helps
        else "no arm that addresses it improves on the baseline, so this is a correlate and no experiment"
    )
    return (
        f"**Collapse; {title}: {top.hypothesis}.** {summary}.{since} {top.supporting} of {top.measured} "
        f"measured indicators speak for it; {experiment}."
    )


def _seeds(suite: Suite, standings: Standings) -> str:
    """The smallest attainable p, and the arms whose p is below ALPHA."""
    tested = {s.name: (s.p, s.floor, s.scores.size) for s in standings.scored if s.p is not None}
    if not tested:
        return f"Nothing is tested: scores of {BASELINE} or of the arms are missing."
    base, most = suite.scores(BASELINE).size, max(size for _, _, size in tested.values())
    floor = attainable_floor(most, base)
    if min(most, base) == 1:
        return (
            f"**One seed can show no significance**: with {most} of an arm against {base} of {BASELINE} the "
            f"floor of p is {floor:.2g}, and no spread between seeds can be estimated. Verdicts and "
            f"intervals below are of these weights over worlds; a second seed may turn any of them."
        )
    reach = f"The floor of p is {floor:.2g}."
    if floor >= ALPHA:
        reach = (
            f"**No arm can reach p < {ALPHA} with these seeds**: the floor is {floor:.2g}. Four seeds each "
            f"would reach {attainable_floor(4, 4):.2g}, five {attainable_floor(5, 5):.2g}."
        )
    below = [arm for arm, (p, _, _) in tested.items() if p < ALPHA]
    extreme = [arm for arm, (p, own, _) in tested.items() if p == own]
    found = f"Below {ALPHA}: {', '.join(below)}." if below else f"No arm is below {ALPHA}."
    found += f" As extreme as the seeds can show: {', '.join(extreme)}." if extreme else ""
    sizes = [base, *(size for _, _, size in tested.values())]
    way = "all" if count_labellings(sizes) <= ENUMERATED else f"{ENUMERATED:,} random"
    how = (
        f"p of the most striking arm: the share of {way} labellings of {sum(sizes)} scores in which the "
        f"largest difference of any arm (of {len(tested)}) is at least its own, as it is picked from "
        f"them; the others step down from it. It is never reported below the floor 2 / C(n_a + n_b, n_b), "
        f"the least that the arm's and the baseline's own seeds can show."
    )
    spread = "Intervals are Student's t of the seeds' mean differences in the same worlds."
    return "\n".join([reach, found, how, spread])


def _verdicts(standings: Standings) -> str:
    """The definition of verdicts."""
    return (
        f"A score is the mean return of the first episode in each world, to its end or the last step. "
        f"Verdicts compare with {BASELINE} in the same worlds of the same seed, by the larger of its score "
        f"and the pretrained planner's (here {standings.scale:.2f}): {IMPROVEMENT} if the whole 95 % "
        f"interval of the difference lies above {100 * BETTER:+.0f} %, {COLLAPSE} if below "
        f"{-100 * WORSE:.0f} %, {NEUTRAL} if between, else {UNDECIDED}."
    )


def _published(suite: Suite) -> str:
    """The published scores, if the setting is the same."""
    other = mismatch(suite)
    if other is not None:
        return f"Published scores are not shown, because the setting differs: {other}."
    groups = ", ".join(f"{letter} {SCORES[letter]}" for letter in GROUPS if letter in SCORES)
    return (
        f"Published, from an early version of the suite and so only for orientation: {BASELINE} "
        f"{SCORES['-']}; means of groups {groups}; best {BEST[0]} {BEST[1]}."
    )


def _next_steps(suite: Suite, standings: Standings, findings: list[Finding]) -> str:
    """Next steps in order: the end of the decision tree, the hypotheses, the missing runs and seeds."""
    path = decide(suite, standings)
    end = TREE[path.end].text.replace("\n", " ")
    steps = [end if path.is_whole else f"Answer what the results leave open: {end}"]
    held = preventing(standings) if standings.collapse == COLLAPSE else []
    if held:
        steps[0] += f" ({held[0].name}, {held[0].score:.2f})"
    elif path.end == "build":
        steps[0] += f" ({standings.scored[0].name}, {standings.scored[0].score:.2f})"
    if standings.collapse == COLLAPSE:
        likely = [f for f in findings if f.verdict not in (NOT_SUPPORTED, UNMEASURED)]
        steps += [f"{f.hypothesis} ({f.verdict.lower()}): {NEXT_STEPS[f.hypothesis]}" for f in likely]
    if suite.missing:
        steps.append("run the missing arms and seeds again: a gap is no evidence")
    if any(s.floor is not None and s.floor >= ALPHA for s in standings.arms):
        steps.append(f"run at least four seeds of {BASELINE} and of the arms that matter before claiming any")
    return "\n".join(f"{k}. {step}." for k, step in enumerate(steps, 1))
