"""The declared schema of the versioned tables."""

from dataclasses import dataclass, replace

VERSION = "2.8"  # minor: a column was added; major: one was changed or taken away
FEW_NFE = 16  # evaluations that a "few-step" figure may use
DTYPES = {"string": "string", "integer": "Int64", "number": "float64", "boolean": "boolean"}


@dataclass(frozen=True)
class Column:
    """One column: its name, type (a key of DTYPES), unit ("1" for a share), meaning, and what it cannot show."""

    name: str
    type: str
    unit: str
    description: str
    blind: str = ""


@dataclass(frozen=True)
class Table:
    """A table's key, by which its rows are sorted, its columns and its meaning."""

    description: str
    key: tuple[str, ...]
    columns: tuple[Column, ...]
    stage: str = "aggregate"  # that writes it


_CELL = (
    Column("paradigm", "string", "", "id of the row in params.yaml"),
    Column("seed", "integer", "", "training seed, also of the sampling noise"),
    Column("sampler", "string", "", "name of the sampler"),
    Column("steps", "integer", "steps", "sampler steps"),
    Column("guidance", "number", "", "guidance scale: 1 conditional, 0 unconditional"),
    Column("arm", "string", "", "name of a cell outside the grid, whose options stand in the table arms; else empty"),
)
_CELL_KEY = ("paradigm", "seed", "sampler", "steps", "guidance", "arm")
# What each is blind to follows from its definition or is what the sensitivity tests measure, in
# tests/unit/test_metrics.py.
SCORES = (
    Column(
        "fid", "number", "", "Frechet distance to the training split in classifier features; not Inception FID",
        "wrong labels; rewards copies of the training set",
    ),
    Column(
        "fid_infinity", "number", "", "FID extrapolated to infinitely many samples; may be below 0 by chance",
        "wrong labels; rewards copies of the training set; noisier than FID",
    ),
    Column(
        "fid_held_out", "number", "", "FID against the validation split, which no network was trained on",
        "wrong labels; nearer to 0 the more images that split has, so compare with real test images",
    ),
    Column(
        "kid", "number", "",
        "kernel distance to as many training images in scaled classifier features; below 0 for real images, since "
        "both sets have the same class counts",
        "wrong labels; sees few shapes for each digit less than FID does; rewards copies of the training set",
    ),
    Column(
        "precision", "number", "1", "share of samples within a real neighbourhood",
        "few shapes for each digit, dropped digits, wrong labels and copies; can rise when samples blur",
    ),
    Column(
        "recall", "number", "1", "share of real images within a generated neighbourhood",
        "wrong labels, copies and binarised strokes",
    ),
    Column(
        "density", "number", "", "mean number of real neighbourhoods around a sample over k",
        "dropped digits, wrong labels and copies; rises when samples collapse to few shapes",
    ),
    Column(
        "coverage", "number", "1", "share of real neighbourhoods that hold a sample", "wrong labels and copies"
    ),
    Column(
        "digit_error", "number", "1", "share of samples that show another digit than asked for",
        "quality and variety: falls when samples collapse to few shapes; limited by the classifier",
    ),
    Column(
        "weight_error", "number", "1", "share of samples of another weight than asked for",
        "most wrong digits, and variety within a prompt",
    ),
    Column(
        "slant_error", "number", "1", "share of samples of another slant than asked for",
        "most wrong digits, and variety within a prompt",
    ),
    Column(
        "joint_error", "number", "1", "share of samples of another digit, weight or slant than asked for",
        "which of the three is wrong, and variety within a prompt",
    ),
    Column(
        "joint_error_shuffled", "number", "1",
        "joint error against the prompts in another order: what the same samples have by chance",
        "everything but how often one prompt fits another's sample",
    ),
    Column(
        "joint_error_withheld", "number", "1",
        "joint error of prompts whose combination of words no network was trained on; empty where none is withheld",
        "which of the three is wrong, and variety within a prompt",
    ),
    Column(
        "joint_error_gap", "number", "1", "what that exceeds the joint error of the other prompts by",
        "errors that both kinds of prompts share",
    ),
    Column("brightness", "number", "1", "mean grey of the samples; ink is bright", "everything but the amount of ink"),
    Column(
        "contrast", "number", "1", "standard deviation of the greys of a sample, mean over samples",
        "where the ink lies: shape, variety and labels",
    ),
    Column(
        "sharpness", "number", "1/pixel", "99th percentile of the gradient of a sample, mean over samples",
        "variety and labels; higher is not better: a binarised stroke exceeds the real ones and a cut one is as sharp",
    ),
    Column(
        "detail", "number", "1", "share of the samples' power above half the Nyquist frequency",
        "variety and labels; higher is not better: noise and binarised strokes exceed the real ones",
    ),
    Column(
        "halves", "number", "1", "correlation of the ink in the upper and the lower half of a sample within a digit",
        "everything but how thick the halves are; rises when samples are bolder and fainter than real ones",
    ),
    Column(
        "topology", "number", "1",
        "total-variation distance of (components, holes) to the training split, mean over the digits asked for or, "
        "where none was, seen; a digit without samples counts as 1; coarse on 8 x 8 pixels",
        "grey levels on either side of the half, as of binarised samples, and to missing digits if the classifier errs",
    ),
    Column(
        "pca_fid", "number", "", "Frechet distance to the training split in at most 64 principal components of pixels",
        "wrong labels, and detail outside the components; rewards copies of the training set",
    ),
    Column(
        "memorisation", "number", "1",
        "share of samples nearer to a training image than all but 5% of the real test images are",
        "every fault but copying, and to copies shifted by a pixel; common shapes count as copies",
    ),
    Column(
        "copied", "number", "1",
        "that share less what lies as near to as many unseen images: 1 for exact copies, below 0 by chance",
        "every fault but copying, and to copies shifted by a pixel",
    ),
)  # fmt: skip
# Of the scores that rest on a classifier, those that claims compare; other judges give them too.
JUDGED = (
    "fid",
    "fid_infinity",
    "precision",
    "recall",
    "density",
    "coverage",
    "digit_error",
    "joint_error",
    "joint_error_withheld",
)
_TRAINING = (
    Column("paradigm", "string", "", "id of the row in params.yaml"),
    Column("seed", "integer", "", "training seed"),
)
VERDICTS = (
    "supported", "partly supported", "contradicted", "equivalent", "inconclusive", "insufficient seeds",
    "not testable here",
)  # fmt: skip
DECIDED = VERDICTS[:4]  # those that rest on a test
_EFFECT = (
    Column("n", "integer", "seeds", "seeds with a value on both sides"),
    Column("effect", "number", "", "mean over seeds in the direction claimed"),
    Column("low", "number", "", "lower end of its 90% t interval: what a one-sided test at 5% looks at"),
    Column("high", "number", "", "upper end of its 90% t interval"),
    Column("margin", "number", "", "margin of the test in the unit of the effect"),
    Column("unit", "string", "", "log ratio, or difference in the metric's own unit"),
    Column("detectable", "number", "", "smallest true effect that so many seeds support with probability 0.8"),
    Column("seeds_needed", "integer", "seeds", "to decide with probability 0.8 if the mean seen is the truth"),
)
_JUDGED_VERDICT = (
    Column("fragile", "boolean", "", "another classifier gives another verdict"),
    Column("verdict_others", "string", "", "JSON: the verdict by each other classifier, of the table judges"),
    Column("effect_others", "string", "", "JSON: the effect by each other classifier"),
)
# What tells the rows of a table apart that other judges score as well.
JUDGED_KEYS = {"cells": _CELL_KEY, "convergence": ("paradigm", "seed", "images"), "floors": ()}
TABLES = {
    "cells": Table(
        "One row a cell: a trained network sampled one way.",
        _CELL_KEY,
        (
            *_CELL,
            Column("nfe", "integer", "evaluations", "network evaluations for one image"),
            Column("status", "string", "", "ok, or failed: the training diverged or a sample is not finite"),
            Column("native", "boolean", "", "the sampler and step count of the paradigm's own paper"),
            Column("images", "integer", "images", "samples scored"),
            *SCORES,
        ),
    ),
    "floors": Table(
        "What real images score in the place of samples, at the same number of images where there are enough; FID of "
        "fewer is carried to that number by the line in 1/N.",
        ("split",),
        (
            Column(
                "split",
                "string",
                "",
                "the split scored; drawn at random: class counts too, as an unconditional model's",
            ),
            Column("images", "integer", "images", "images scored"),
            Column("fid_high", "number", "", "FID that one in twenty of the sets drawn at random exceeds; else empty"),
            *SCORES,
        ),
    ),
    "judges": Table(
        "What other classifiers than the first, trained from seeds of their own, say of cells, snapshots and real test "
        "images: the scores that rest on a classifier.",
        ("of", *_CELL_KEY, "images", "judge"),
        (
            Column("of", "string", "", "table whose row is scored: cells, convergence, or floors for real test images"),
            *_CELL,
            Column("images", "integer", "images", "training images seen, of a row of the table convergence"),
            Column("judge", "integer", "", "which classifier; the first is 0 and has the tables themselves"),
            *(column for column in SCORES if column.name in JUDGED),
        ),
    ),
    "arms": Table(
        "What the cells outside the grid change, one row an arm; empty where the default holds.",
        ("paradigm", "arm"),
        (
            Column("paradigm", "string", "", "id of the row in params.yaml"),
            Column("arm", "string", "", "name of the arm"),
            Column("sampler", "string", "", "name of the sampler"),
            Column("steps", "integer", "steps", "sampler steps"),
            Column("guidance", "number", "", "guidance scale"),
            Column("eta", "number", "", "share of the DDPM noise that DDIM injects"),
            Column("variance", "string", "", "of the ancestral sampler: small or large"),
            Column("reading", "string", "", "what dt of the article's update stands for"),
            Column("spacing", "string", "", "of the times: trailing or leading; after @ the path meant"),
            Column("path", "string", "", "sampled on, where it is not the one trained on"),
            Column("interval_low", "number", "", "log-SNR below which guidance is off"),
            Column("interval_high", "number", "", "log-SNR above which guidance is off"),
            Column("rescale", "number", "1", "share of the output rescaled to the conditional one's spread"),
            Column("negative", "number", "1", "share of the training after which the network guided away from stood"),
            Column("precision", "string", "", "of the network while sampling: float32 or bf16"),
        ),
    ),
    "effects": Table(
        "What a factor changes: two ways of training and sampling that differ in it alone, at guidance 1 under a "
        "sampler of first order. v counts as velocity, DDIM as Euler.",
        ("base", "base_arm", "paradigm", "arm", "steps"),
        (
            Column(
                "factor",
                "string",
                "",
                "network, target, density, grid, path or sampling_path; all: target to path together",
            ),
            Column("older", "string", "", "its value before; of a density or grid after @ the path meant"),
            Column("newer", "string", "", "its value after"),
            Column("with_network", "string", "", "network of both; empty where it is the factor"),
            Column("with_target", "string", "", "what both predict"),
            Column("with_density", "string", "", "density of noise levels that both are trained at"),
            Column("with_grid", "string", "", "grid of noise levels that both are sampled on"),
            Column("with_path", "string", "", "path that both are trained on"),
            Column("with_sampling_path", "string", "", "path that both are sampled on, if another"),
            Column("base", "string", "", "row before"),
            Column("base_arm", "string", "", "its arm, or empty"),
            Column("paradigm", "string", "", "row after"),
            Column("arm", "string", "", "its arm, or empty"),
            Column("steps", "integer", "steps", "sampler steps"),
            Column("ratio", "number", "1", "FID after over FID before: geometric mean over seeds"),
            Column("low", "number", "1", "lower end of its 95% t interval over seeds"),
            Column("high", "number", "1", "upper end of its 95% t interval over seeds"),
            Column("seeds", "string", "", "the ratio of each seed, as JSON"),
        ),
    ),
    "selection": Table(
        "The guidance scales each paradigm was chosen from: selection images against the validation split.",
        ("paradigm", "seed", "sampler", "guidance"),
        (
            *_TRAINING,
            Column("sampler", "string", "", "name of the sampler"),
            Column("guidance", "number", "", "guidance scale"),
            Column("fid", "number", "", "FID of the selection images against the validation split"),
        ),
    ),
    "training": Table(
        "Training loss over images seen; its scale depends on the target, so compare it within a target only.",
        ("paradigm", "seed", "images"),
        (
            *_TRAINING,
            Column("images", "integer", "images", "training images seen"),
            Column("loss", "number", "", "mean squared error of the target over the stretch that ends here"),
            Column("status", "string", "", "ok, or failed: the loss stopped being finite"),
        ),
    ),
    "convergence": Table(
        "Quality of the averaged weights at shares of the training, with one sampler for all rows at guidance 1, or 0 "
        "where it is unconditional.",
        ("paradigm", "seed", "images"),
        (
            *_TRAINING,
            Column("images", "integer", "images", "training images seen"),
            Column("status", "string", "", "ok, or failed: the training diverged before, or a sample is not finite"),
            *SCORES,
        ),
    ),
    "thresholds": Table(
        "Training images until the FID of the table convergence first lay within a multiple of the real test images'.",
        ("paradigm", "seed", "within"),
        (
            *_TRAINING,
            Column("within", "number", "", "multiple of the real test images' FID"),
            Column("fid", "number", "", "the FID to reach"),
            Column("images", "integer", "images", "images seen at the first snapshot there; empty where censored"),
            Column("censored", "boolean", "", "not reached within the budget, so the time is longer than the budget"),
            Column("budget", "integer", "images", "images of the whole training"),
        ),
    ),
    "noise_error": Table(
        "Error of the estimates on the test split by noise level: the same images, noise and draws in every row.",
        ("paradigm", "seed", "axis", "low"),
        (
            *_TRAINING,
            Column("axis", "string", "", "what is binned: t, or log_snr = log(alpha^2 / sigma^2)"),
            Column("low", "number", "", "lower edge of the bin"),
            Column("high", "number", "", "upper edge of the bin"),
            Column("images", "integer", "images", "test images, each at its own level within the bin"),
            Column("x0_error", "number", "", "mean squared error of the estimate of x0, pixels in [-1, 1], unclamped"),
            Column("eps_error", "number", "", "mean squared error of the estimate of eps"),
        ),
    ),
    "straightness": Table(
        "The deterministic ODE at guidance 1 (0 where unconditional), unclamped, in the coordinates "
        "x / (alpha + sigma) against sigma / (alpha + sigma), where the path to a single point is straight.",
        ("paradigm", "seed"),
        (
            *_TRAINING,
            Column("steps", "integer", "steps", "Euler steps of the trajectory"),
            Column("images", "integer", "images", "trajectories"),
            Column("path_over_chord", "number", "", "mean length of the trajectory over the distance of its ends"),
            Column(
                "velocity_deviation", "number", "1", "mean squared departure from the chord's velocity over its square"
            ),
            Column(
                "exact_path_over_chord",
                "number",
                "",
                "that of a network without error on the training images, from the same noise and prompts",
            ),
            Column("exact_velocity_deviation", "number", "1", "that of the same network without error"),
            Column("reason", "string", "", "why a value of the trained network is missing"),
        ),
    ),
    "paradigms": Table(
        "One row a paradigm: what it is, its guidance scale chosen on validation, and its best cells.",
        ("paradigm",),
        (
            Column("paradigm", "string", "", "id of the row in params.yaml"),
            Column("label", "string", "", "its name in the report"),
            Column(
                "role",
                "string",
                "",
                "recipe of the article, bridge between recipes, after for what came later, or factor: for one factor "
                "alone, it does not compete",
            ),
            Column("network", "string", "", "network"),
            Column("path", "string", "", "probability path"),
            Column("target", "string", "", "what the network predicts"),
            Column("times", "string", "", "density of training times; after @ the path meant"),
            Column("conditional", "boolean", "", "trained with prompts"),
            Column("lr", "number", "", "peak learning rate"),
            Column("parameters", "integer", "", "trained parameters"),
            Column("macs", "integer", "MAC", "multiply-accumulates of one evaluation of one image"),
            Column("seeds_ok", "integer", "", "seeds whose training did not fail"),
            Column("guidance", "number", "", "scale with the lowest mean FID on the validation split"),
            Column("best_sampler", "string", "", "sampler of the lowest mean FID at that scale"),
            Column("best_steps", "integer", "steps", "its steps"),
            Column("best_nfe", "integer", "evaluations", "its network evaluations"),
            Column("best_fid", "number", "", "its mean FID over seeds"),
            Column("best_fid_low", "number", "", "lower end of the 95% t interval over seeds"),
            Column("best_fid_high", "number", "", "upper end of the 95% t interval over seeds"),
            Column("best_pca_fid", "number", "", "mean PCA-FID over seeds of the same cell"),
            Column("best_fid_infinity", "number", "", "mean over seeds of its FID extrapolated"),
            Column("best_fid_held_out", "number", "", "mean over seeds of its FID against the validation split"),
            Column("best_copied", "number", "1", "mean over seeds of its share of copies"),
            Column("best_copied_low", "number", "1", "lower end of the 95% t interval over seeds"),
            Column("copies", "boolean", "", "that end lies above 5%: the row copies training images and is not ranked"),
            Column("rank_fid", "integer", "", "place by best_fid among conditional, or among unconditional, rows"),
            Column("rank_pca_fid", "integer", "", "place by best_pca_fid among the same"),
            Column("rank_robust", "boolean", "", "both places are the same"),
            Column("few_fid", "number", "", f"lowest mean FID within {FEW_NFE} evaluations at that scale"),
            Column("few_fid_low", "number", "", "lower end of its 95% t interval over seeds"),
            Column("few_fid_high", "number", "", "upper end of its 95% t interval over seeds"),
            Column("few_sampler", "string", "", "sampler of that cell"),
            Column("few_steps", "integer", "steps", "its steps"),
            Column("few_nfe", "integer", "evaluations", "its network evaluations"),
            Column("target_fid", "number", "", "the least of convergence.within times the real test images' FID"),
            Column("target_nfe", "integer", "evaluations", "fewest at that scale with a mean FID no higher"),
            Column("precision", "number", "1", "mean precision of the best cell"),
            Column("recall", "number", "1", "mean recall of the best cell"),
            Column("digit_error", "number", "1", "mean digit error of the best cell"),
            Column("joint_error", "number", "1", "mean share of its samples of another digit, weight or slant"),
        ),
    ),
    "confusion": Table(
        "What the classifier saw where a digit was asked for, in the cells of the guidance sweep; pairs that never "
        "occur are left out.",
        (*_CELL_KEY, "asked", "shown"),
        (
            *_CELL,
            Column("asked", "integer", "", "digit asked for"),
            Column("shown", "integer", "", "the classifier's most likely digit"),
            Column("images", "integer", "images", "samples"),
        ),
    ),
    "word_confusion": Table(
        "What was measured where a weight or a slant was asked for, in the cells of the guidance sweep; pairs that "
        "never occur are left out.",
        (*_CELL_KEY, "axis", "asked", "shown"),
        (
            *_CELL,
            Column("axis", "string", "", "weight or slant"),
            Column("asked", "string", "", "word asked for"),
            Column("shown", "string", "", "word measured, by the bounds of the digit asked for"),
            Column("images", "integer", "images", "samples"),
        ),
    ),
    "failures": Table(
        "The worst samples that the report shows, of the row's own sampler at sampling.guidance.sweep_steps.",
        ("paradigm", "seed", "guidance", "kind", "place"),
        (
            *_TRAINING,
            Column("guidance", "number", "", "guidance scale"),
            Column(
                "kind",
                "string",
                "",
                "wrong: not the digit asked for, surest first; of the rest unsure: least sure; weight and slant: "
                "not the word asked for, farthest first",
            ),
            Column("place", "integer", "", "place among its kind, and in the picture's strip"),
            Column("strip", "integer", "", "strip of the picture evaluate/<paradigm>/<seed>-failures.png"),
            Column("index", "integer", "", "number of the sample in its cell"),
            Column("asked", "integer", "", "digit asked for, if any"),
            Column("shown", "integer", "", "the classifier's most likely digit"),
            Column("confidence", "number", "1", "its probability by the classifier"),
            Column("asked_word", "string", "", "weight or slant asked for, of these kinds"),
            Column("shown_word", "string", "", "weight or slant measured, of these kinds"),
        ),
    ),
    "prompts": Table(
        "The prompts of the samples that the report shows, the same in every conditional row.",
        ("place",),
        (
            Column("place", "integer", "", "place in a cell's strips"),
            Column("prompt", "string", "", "the prompt in words"),
        ),
    ),
    "cost": Table(
        "What was measured with a clock. The only table that differs between two runs on one machine.",
        ("stage", *_CELL_KEY, "within"),
        (
            Column("stage", "string", "", "train, sample, or threshold: training until a threshold"),
            *_CELL,
            Column("within", "number", "", "the threshold, as in the table thresholds"),
            Column("seconds", "number", "s", "of the training"),
            Column("seconds_per_1000", "number", "s", "to train on, or to sample, 1,000 images, after a warm-up"),
            Column("peak_memory_bytes", "integer", "B", "most the device's allocator held; on a CPU, the process"),
        ),
    ),
    "provenance": Table(
        "What the results rest on.",
        ("key",),
        (
            Column("key", "string", "", "name of the fact"),
            Column("value", "string", "", "its value"),
        ),
    ),
    "claims": Table(
        "One row a claim of the article: the verdict over training seeds. Effects count in the direction claimed: "
        "above 0 speaks for the claim.",
        ("number",),
        (
            Column("number", "integer", "", "number in workflow/claims.yaml"),
            Column("claim", "string", "", "its id there"),
            Column("title", "string", "", "the claim in short"),
            Column("quotes", "string", "", "JSON: the passages of the article that make it"),
            Column("combine", "string", "", "all or any of its parts"),
            Column("preset", "string", "", "the preset that was made to test it; empty where the main ones do"),
            Column("verdict", "string", "", "at 5% for the claim: " + ", ".join(VERDICTS)),
            Column("verdict_holm", "string", "", "the same with Holm's correction over the claims of the run"),
            Column("p_supported", "number", "1", "p-value of supported"),
            Column("p_partly", "number", "1", "p-value of at least one part supported, where all have to be"),
            Column("p_contradicted", "number", "1", "p-value of contradicted"),
            Column("p_equivalent", "number", "1", "p-value of equivalent: the difference lies within the margin"),
            Column("part", "string", "", "the part that decides: the least supported of all, the most of any"),
            *_EFFECT,
            *_JUDGED_VERDICT,
            Column("note", "string", "", "what is missing, left out or taken in another's place"),
        ),
        "claims",
    ),
    "claim_parts": Table(
        "One row a comparison of a claim, with every seed.",
        ("number", "part"),
        (
            Column("number", "integer", "", "number of the claim"),
            Column("claim", "string", "", "its id"),
            Column("part", "string", "", "name of the comparison"),
            Column("decides", "boolean", "", "enters the claim's verdict"),
            Column("explains", "string", "", "the factor whose share of the claim's effect it tests; else empty"),
            Column("test", "string", "", "difference, noninferior, equivalent, or described: variability, descriptive"),
            Column("verdict", "string", "", "of this part alone at 5%, or descriptive"),
            Column("measure", "string", "", "how it is measured, as in workflow/claims.yaml"),
            Column("metric", "string", "", "what is compared"),
            Column("arms", "boolean", "", "a side is a cell outside the grid, of the table arms"),
            Column("direction", "string", "", "what the claim says of the left side: lower or higher"),
            *_EFFECT,
            *_JUDGED_VERDICT,
            Column("p_supported", "number", "1", "p-value of supported"),
            Column("p_contradicted", "number", "1", "p-value of contradicted"),
            Column("p_equivalent", "number", "1", "p-value of equivalent"),
            Column("seeds", "string", "", "JSON: each seed's effect, and the two sides of each pair of rows"),
            Column("compared", "string", "", "left and right side in words"),
            Column("note", "string", "", "what is missing, left out or taken in another's place"),
            Column("why", "string", "", "why this comparison, metric and margin"),
        ),
        "claims",
    ),
    "claim_changes": Table(
        "What was changed of the claims, or of what they rest on, after a run had been looked at.",
        ("place",),
        (
            Column("place", "integer", "", "in the order of workflow/claims.yaml"),
            Column("date", "string", "", "year-month-day"),
            Column("change", "string", "", "what was changed and why"),
        ),
        "claims",
    ),
}


def add_scores(*columns: Column) -> None:
    """Declare scores of a family registered from outside, in every table that holds scores.

    Raises:
        ValueError: a column is declared already.
    """
    global SCORES
    taken = {column.name for column in TABLES["cells"].columns}
    if clash := sorted(taken & {column.name for column in columns}):
        raise ValueError(f"columns {clash} are declared already")
    SCORES = (*SCORES, *columns)
    for name in ("cells", "floors", "convergence"):
        TABLES[name] = replace(TABLES[name], columns=(*TABLES[name].columns, *columns))
