"""Combinations of words that are withheld: every word stays, no batch holds one, and errors on them are told apart."""

import dataclasses

import numpy as np
import pytest
import torch

from diffbench.data import splits
from diffbench.data.combinations import WITHHELD, among, latin_square
from diffbench.data.vocabulary import ANY_SLANT, FIRST_SLANT, FIRST_WEIGHT, NULL
from diffbench.diffusion.networks import NETWORKS
from diffbench.evaluation import classifier
from diffbench.evaluation.metrics import adherence
from diffbench.evaluation.metrics.adherence import errors
from diffbench.evaluation.metrics.sets import Samples
from diffbench.evaluation.scoring import reference_sets, references
from diffbench.training.trainer import Trainer


def test_a_latin_square_withholds_one_slant_for_each_digit_and_weight():
    square = latin_square()
    for axis in (1, 2):
        assert (square.sum(axis=axis) == 1).all(), "so each digit keeps two partners for each word"
    assert square.sum() == 30 and (np.bincount(np.argwhere(square)[:, 0]) == 3).all()
    assert all((~square).any(axis=axes).all() for axes in ((1, 2), (0, 2), (0, 1))), "every word is trained on"
    assert not WITHHELD["none"]().any()


def test_prompts_with_any_are_among_none():
    prompt = np.array([[3, FIRST_WEIGHT, FIRST_SLANT], [3, FIRST_WEIGHT, ANY_SLANT], [NULL, NULL, NULL]])
    assert among(prompt, np.ones((10, 3, 3), bool)).tolist() == [True, False, False]
    one = np.zeros((10, 3, 3), bool)
    one[3, 0, 0] = True
    assert among(prompt, one).tolist() == [True, False, False] and not among(prompt, ~one).any()


@pytest.mark.parametrize("key", ["sd1", "dit"])
def test_no_training_batch_holds_a_withheld_combination(smoke, places, key):
    """In 200 steps, several epochs; and without withholding about a third would."""
    dataset = dataclasses.replace(splits.load(places.data), withheld=latin_square())
    training = dataclasses.replace(
        smoke.training, images=200 * smoke.training.batch_size, word_drop=0.0, prompt_drop=0.0
    )
    params = dataclasses.replace(smoke, training=training)
    trainer = Trainer(params, smoke.paradigms[key], 0, torch.device("cpu"), dataset)
    drawn = torch.cat([trainer.draw(step)[3] for step in range(200)]).numpy()
    assert not among(drawn, latin_square()).any()
    for column in range(3):
        assert set(drawn[:, column]) == set(dataset.train.prompts[:, column]), "every word is trained on"
    whole = Trainer(params, smoke.paradigms[key], 0, torch.device("cpu"), splits.load(places.data))
    share = among(torch.cat([whole.draw(step)[3] for step in range(50)]).numpy(), latin_square()).mean()
    assert 0.25 < share < 0.42
    assert len(trainer.images) == (~among(dataset.train.prompts, latin_square())).sum() < len(whole.images)


def test_errors_on_withheld_combinations_are_told_apart(smoke, places):
    dataset = splits.load(places.data)
    network = classifier.load(places.classifier, smoke.classifier, dataset.side, torch.device("cpu"))
    real, _ = reference_sets(smoke, dataset, references(smoke), torch.device("cpu"))
    test = dataset.test
    samples = Samples(test.images, *classifier.apply(network, splits.to_float(test.images)), test.prompts)
    plain = adherence.family(real)(samples)
    assert "joint_error_withheld" not in plain
    found = adherence.family(dataclasses.replace(real, withheld=latin_square()))(samples)
    new = among(test.prompts, latin_square())
    by_hand = [
        errors(
            test.images[rows], samples.logits[torch.from_numpy(rows)], test.prompts[rows], dataset.bounds
        ).joint_error
        for rows in (new, ~new)
    ]
    assert found["joint_error_withheld"] == by_hand[0]
    assert found["joint_error_gap"] == pytest.approx(by_hand[0] - by_hand[1])
    share = new.mean()
    assert found["joint_error"] == plain["joint_error"] == pytest.approx(share * by_hand[0] + (1 - share) * by_hand[1])


def test_the_preset_has_one_network_of_each_kind_of_conditioning(at_root):
    from diffbench import runs

    params = runs.load("composition")
    assert params.data.withheld == "latin-square"
    assert {row.network for row in params.paradigms.values()} == set(NETWORKS) & {"unet", "dit", "mmdit"}
    assert len({(row.target, row.path, row.times) for row in params.paradigms.values()}) == 1
