"""Metrics against closed forms and independent implementations."""

import dataclasses

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from prdc import compute_prdc
from scipy import ndimage
from scipy.linalg import sqrtm
from scipy.spatial.distance import cdist

from diffbench.data import splits
from diffbench.data.sources import image_side
from diffbench.evaluation import classifier
from diffbench.evaluation.metrics import FAMILIES, appearance, kernel, measure, pixel, topology
from diffbench.evaluation.metrics.adherence import errors
from diffbench.evaluation.metrics.appearance import detail, halves
from diffbench.evaluation.metrics.frechet import Frechet, by_torchmetrics, to_infinity
from diffbench.evaluation.metrics.manifold import CHUNK, Manifold
from diffbench.evaluation.metrics.sets import Real, Samples, pixels
from diffbench.evaluation.scoring import panel, reference_sets, references
from diffbench.runtime.files import read_json
from diffbench.stages import classifier as classifier_stage
from diffbench.stages.reference import at_as_many, random_draws, subset
from diffbench.tables import schema


def clouds(real: int, fake: int, width: int, shift: float = 0.3, seed: int = 0):
    generator = torch.Generator().manual_seed(seed)
    first = torch.randn(real, width, generator=generator)
    return first, 1.2 * torch.randn(fake, width, generator=generator) + shift


def test_fid_of_a_shift_is_its_square():
    real, _ = clouds(500, 0, 8)
    shift = torch.linspace(-1, 1, 8)
    assert Frechet(real)(real + shift) == pytest.approx(float(shift.square().sum()), rel=1e-5)


def test_fid_agrees_with_the_matrix_square_root():
    real, fake = clouds(700, 300, 12)
    a, b = real.double().numpy(), fake.double().numpy()
    first, second = np.cov(a, rowvar=False), np.cov(b, rowvar=False)
    expected = ((a.mean(0) - b.mean(0)) ** 2).sum() + np.trace(first + second - 2 * sqrtm(first @ second).real)
    assert Frechet(real)(fake) == pytest.approx(expected, rel=1e-6)


def test_fid_agrees_with_torchmetrics():
    real, fake = clouds(500, 400, 10)
    fake[:, 3] = 0  # a dead unit
    assert Frechet(real)(fake) == pytest.approx(by_torchmetrics(real, fake), rel=1e-6)


@pytest.mark.parametrize("shift", [0.0, 0.3])
def test_fid_extrapolated_lacks_most_of_the_bias_of_few_samples(shift):
    """Samples of a shifted unit Gaussian in 16 dimensions, whose distance to the unit Gaussian is known."""
    generator = torch.Generator().manual_seed(0)
    distance, truth = Frechet(torch.randn(200_000, 16, generator=generator)), 16 * shift**2
    found = []
    for _ in range(40):
        features = torch.randn(200, 16, generator=generator) + shift
        samples = Samples(np.zeros((200, 2, 2), np.uint8), features, torch.rand(200, 10, generator=generator), None)
        whole = distance(features)
        found.append((whole, to_infinity(distance, whole, samples)))
    plain, extrapolated = np.mean(found, axis=0) - truth
    assert plain > 0.2 and abs(extrapolated) < 0.15 * plain


def test_fid_keeps_its_reference_and_forgets_its_samples():
    real, fake = clouds(400, 400, 6)
    metric = Frechet(real)
    first = metric(fake)
    metric(fake + 3)
    assert metric(fake) == first


def test_fid_of_identical_sets_is_zero_even_without_full_rank():
    real, _ = clouds(10, 0, 40)
    assert Frechet(real)(real) == pytest.approx(0, abs=1e-6)
    assert Frechet(torch.ones(20, 4))(torch.ones(20, 4)) == 0


@pytest.mark.parametrize("bad", [torch.zeros(1, 4), torch.zeros(9, 5), torch.full((9, 4), torch.nan)])
def test_fid_refuses_what_it_cannot_measure(bad):
    with pytest.raises(ValueError):
        Frechet(torch.randn(20, 4))(bad)


@given(
    real=st.integers(12, 300),
    fake=st.integers(12, 300),
    k=st.integers(1, 8),
    shift=st.floats(0, 3),
    seed=st.integers(0, 99),
)
@settings(max_examples=30)
def test_prdc_agrees_with_the_reference_implementation(real, fake, k, shift, seed):
    a, b = clouds(real, fake, 5, shift, seed)
    theirs = compute_prdc(a.double().numpy(), b.double().numpy(), nearest_k=k)
    assert Manifold(a, k)(b)._asdict() == pytest.approx(theirs, abs=1e-4)


def test_prdc_in_chunks_is_prdc():
    a, b = clouds(CHUNK + 50, CHUNK + 20, 3)
    theirs = compute_prdc(a.double().numpy(), b.double().numpy(), nearest_k=5)
    assert Manifold(a, 5)(b)._asdict() == pytest.approx(theirs, abs=1e-4)


def test_prdc_sees_what_each_measure_is_for():
    real, _ = clouds(600, 0, 4)
    same = torch.randn(600, 4, generator=torch.Generator().manual_seed(9))
    measure = Manifold(real, 5)
    assert measure(same).coverage == pytest.approx(1 - 2**-5, abs=0.03)
    tight = measure(0.2 * same)
    assert tight.precision > 0.97 and tight.recall < 0.5
    far = measure(same + 50)
    assert far == (0, 0, 0, 0)


def test_prdc_of_constant_sets_is_zero_and_too_few_are_refused():
    assert Manifold(torch.ones(20, 4), 5)(torch.ones(20, 4)) == (0, 0, 0, 0)
    with pytest.raises(ValueError, match="5 real samples; more than k = 5"):
        Manifold(torch.randn(5, 4), 5)
    with pytest.raises(ValueError, match="4 samples; more than k = 5"):
        Manifold(torch.randn(50, 4), 5)(torch.randn(4, 4))
    with pytest.raises(ValueError, match="not finite"):
        Manifold(torch.randn(50, 4), 5)(torch.full((9, 4), torch.inf))


def direct_kid(real: np.ndarray, fake: np.ndarray) -> float:
    """The estimate as a sum over pairs, one at a time."""
    scale = np.sqrt(np.trace(np.cov(real, rowvar=False)) / real.shape[1])
    x, y = fake / scale, real / scale

    def k(a, b):
        return (np.dot(a, b) / len(a) + 1) ** 3

    n, m = len(x), len(y)
    within_x = sum(k(x[i], x[j]) for i in range(n) for j in range(n) if i != j) / (n * (n - 1))
    within_y = sum(k(y[i], y[j]) for i in range(m) for j in range(m) if i != j) / (m * (m - 1))
    return within_x + within_y - 2 * np.mean([k(a, b) for a in x for b in y])


def test_kid_agrees_with_a_direct_estimate_in_any_chunks(monkeypatch):
    real, fake = clouds(40, 30, 5)
    expected = direct_kid(real.double().numpy(), fake.double().numpy())
    assert kernel.Kernel(real)(fake) == pytest.approx(expected, rel=1e-9)
    monkeypatch.setattr(kernel, "CHUNK", 7)
    assert kernel.Kernel(real)(fake) == pytest.approx(expected, rel=1e-9)


def test_kid_agrees_with_torchmetrics():
    from torchmetrics.image.kid import KernelInceptionDistance

    from diffbench.evaluation.metrics.frechet import GivenFeatures

    real, fake = clouds(300, 300, 6)
    scale = real.double().var(dim=0).mean().sqrt()
    theirs = KernelInceptionDistance(GivenFeatures(6), subsets=1, subset_size=300).set_dtype(torch.float64)
    theirs.update(real.double() / scale, real=True)
    theirs.update(fake.double() / scale, real=False)
    assert kernel.Kernel(real)(fake) == pytest.approx(float(theirs.compute()[0]), rel=1e-4)


def test_kid_is_unbiased_and_has_no_scale():
    generator = torch.Generator().manual_seed(3)
    draws = [
        kernel.Kernel(torch.randn(60, 4, generator=generator))(torch.randn(60, 4, generator=generator))
        for _ in range(200)
    ]
    assert abs(np.mean(draws)) < 3 * np.std(draws) / np.sqrt(200) and min(draws) < 0
    real, fake = clouds(80, 70, 4)
    assert kernel.Kernel(100 * real)(100 * fake) == pytest.approx(kernel.Kernel(real)(fake), rel=1e-6)


def test_kid_refuses_what_it_cannot_measure():
    real, fake = clouds(20, 20, 4)
    for bad in (fake[:1], fake[:, :3], torch.full((9, 4), torch.nan)):
        with pytest.raises(ValueError):
            kernel.Kernel(real)(bad)
    with pytest.raises(ValueError, match="do not vary"):
        kernel.Kernel(torch.ones(20, 4))
    with pytest.raises(ValueError, match="at least 2"):
        kernel.Kernel(real[:1])


def by_flood(mask: np.ndarray, diagonal: bool) -> int:
    """Connected components of a mask (H, W), pixel by pixel."""
    left, found = set(zip(*np.nonzero(mask), strict=True)), 0
    while left:
        found, queue = found + 1, [left.pop()]
        while queue:
            y, x = queue.pop()
            for dy in (-1, 0, 1):
                for dx in (-1, 0, 1):
                    if (diagonal or not dy or not dx) and (near := (y + dy, x + dx)) in left:
                        left.remove(near)
                        queue.append(near)
    return found


@given(arrays.arrays(np.bool_, st.tuples(st.integers(1, 5), st.integers(1, 7), st.integers(1, 7))))
@settings(max_examples=60)
def test_components_agree_with_scipy_and_with_a_flood_one_image_at_a_time(masks):
    components, holes = topology.components_and_holes(np.where(masks, 128, 127).astype(np.uint8))
    for mask, c, h in zip(masks, components, holes, strict=True):
        around = ~np.pad(mask, 1)
        assert c == ndimage.label(mask, np.ones((3, 3)))[1] == by_flood(mask, True)
        assert h == ndimage.label(around)[1] - 1 == by_flood(around, False) - 1


def drawn(*rows: str) -> np.ndarray:
    return np.array([[255 * (letter == "#") for letter in row] for row in rows], np.uint8)[None]


def test_shapes_have_their_components_and_holes(monkeypatch):
    zero = drawn(".##.", "#..#", "#..#", ".##.")
    broken = drawn(".##.", "#..#", "....", ".##.")
    eight = drawn("####", "#..#", "####", "#..#", "####")[:, :4]
    images = np.concatenate([zero, broken, eight, np.zeros_like(zero), np.full_like(zero, 255)])
    for chunk in (100, 2):
        monkeypatch.setattr(topology, "CHUNK", chunk)
        components, holes = topology.components_and_holes(images)
        assert components.tolist() == [1, 2, 1, 0, 1] and holes.tolist() == [1, 0, 1, 0, 0]


def test_topology_is_a_total_variation_within_digits():
    zero, broken = drawn(".##.", "#..#", "#..#", ".##."), drawn(".##.", "#..#", "....", ".##.")
    real = np.concatenate([zero, zero, zero, broken])
    distance = topology.Topology(real, np.array([0, 0, 1, 1]))
    assert distance(real, np.array([0, 0, 1, 1])) == 0
    assert distance(real[[0, 0, 0, 0]], np.array([0, 0, 1, 1])) == 0.25  # half of digit 1, none of digit 0
    assert distance(real[[3, 3, 0, 3]], np.array([0, 0, 1, 1])) == 0.5
    assert distance(real[:2], np.array([0, 0])) == 0.5  # no sample stands for digit 1
    with pytest.raises(ValueError, match="no images"):
        distance(real[:0], np.array([], int))


def test_contrast_and_sharpness_of_known_images():
    edge = np.zeros((2, 9, 9), np.uint8)
    edge[:, :, 5:] = 255
    edge[1] = (edge[1] * 0.4).astype(np.uint8)
    assert appearance.contrast(edge) == pytest.approx(0.7 * np.sqrt(20) / 9)
    assert appearance.sharpness(edge) == pytest.approx(0.7)
    dots = np.zeros((1, 9, 9), np.uint8)
    dots[:, 1::3, 1::3] = 255
    assert appearance.sharpness(dots) == pytest.approx(np.sqrt(2))  # steps both down and to the right
    flat = np.full((3, 8, 8), 77, np.uint8)
    assert appearance.contrast(flat) == appearance.sharpness(flat) == 0


def test_components_are_sklearns_and_no_more_than_the_data_support(monkeypatch):
    from sklearn.decomposition import PCA

    generator = np.random.default_rng(0)
    images = generator.integers(0, 256, (300, 4, 5), np.uint8)
    images[:, 0, 0] = 9  # a pixel that never varies
    other = generator.integers(0, 256, (50, 4, 5), np.uint8)
    theirs = PCA(19).fit(images.reshape(300, -1) / 255)
    monkeypatch.setattr(pixel, "CHUNK", 64)
    ours = pixel.PCA(images)
    assert ours.components.shape == (20, 19)
    ours, theirs = ours(other).numpy(), theirs.transform(other.reshape(50, -1) / 255)
    np.testing.assert_allclose(np.abs(ours), np.abs(theirs), atol=1e-9)
    monkeypatch.setattr(pixel, "COMPONENTS", 6)
    assert pixel.PCA(images).components.shape == (20, 6)
    assert pixel.PCA(images[:4]).components.shape == (20, 3), "fewer images than pixels"
    with pytest.raises(ValueError, match="do not differ"):
        pixel.PCA(np.full((9, 4, 4), 80, np.uint8))


def test_pca_fid_of_a_shift_is_its_square():
    generator = np.random.default_rng(1)
    images = generator.integers(0, 200, (400, 3, 3), np.uint8)
    distance = Frechet((pca := pixel.PCA(images))(images))
    assert distance(pca(images + np.uint8(51))) == pytest.approx(9 * 0.2**2)


def test_nearest_agrees_with_scipy(monkeypatch):
    generator = np.random.default_rng(2)
    images, train = (generator.integers(0, 256, (n, 6, 6), np.uint8) for n in (70, 90))
    images[3] = train[80]
    expected = cdist(images.reshape(70, -1) / 255, train.reshape(90, -1) / 255).min(axis=1)
    for chunk in (2000, 7):
        monkeypatch.setattr(pixel, "CHUNK", chunk)
        found = pixel.nearest(images, pixels(train, dtype=torch.float32))
        np.testing.assert_allclose(found, expected, atol=1e-6)
        assert found[3] == 0


def by_all_distances(images: np.ndarray, train: np.ndarray) -> np.ndarray:
    """Distances (N, M) of uint8 images to training images in float64, one image at a time."""
    rows, others = (pixels(each, dtype=torch.float32).double() for each in (images, train))
    return np.stack([(row - others).square().sum(dim=1).sqrt().numpy() for row in rows])


def copies_of(train: np.ndarray, threshold: float) -> pixel.Memorisation:
    pca = pixel.PCA(train)
    return pixel.Memorisation(train, threshold, pca, pca(train))


@given(
    seed=st.integers(0, 9999),
    train=st.integers(2, 60),
    count=st.integers(1, 30),
    side=st.integers(2, 6),
    base=st.sampled_from([0, 120, 250]),
    span=st.sampled_from([1, 5]),
    components=st.integers(1, 64),
    chunk=st.sampled_from([2000, 7]),
    above=st.sampled_from([-1, 0, 1]),
)
@settings(max_examples=150)
def test_copies_are_found_among_components_as_among_all_distances(
    seed, train, count, side, base, span, components, chunk, above
):
    """Thresholds are distances that occur, or the next number: a pair more or less is another share."""
    generator = np.random.default_rng(seed)
    real = generator.integers(base, base + span + 1, (train, side, side), np.uint8)
    real[1] = real[0]
    real[0, 0, 0] ^= 1  # the others may all be the same, but some must differ
    images = generator.integers(base, base + span + 1, (count, side, side), np.uint8)
    images[::3] = real[generator.integers(0, train, len(images[::3]))]
    images[1::9], images[2::9], images[3::9] = 0, real.mean(axis=0), 255 - images[3::9]
    distances = by_all_distances(images, real)
    threshold = float(generator.choice(distances.min(axis=1)))
    threshold = threshold if above == 0 else float(np.nextafter(threshold, above * np.inf))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(pixel, "COMPONENTS", components)
        patch.setattr(pixel, "CHUNK", chunk)
        patch.setattr(pixel, "BLOCK", chunk + 4)
        assert copies_of(real, threshold)(images) == (distances < threshold).any(axis=1).mean()


def compared(monkeypatch) -> list[int]:
    """How many pairs each product of exact distances takes, as it is asked for."""
    sizes, apart = [], pixel.apart
    monkeypatch.setattr(pixel, "CHUNK", 32)
    monkeypatch.setattr(pixel, "apart", lambda left, right: sizes.append(len(left)) or apart(left, right))
    return sizes


def test_many_near_pairs_are_compared_a_few_at_a_time(monkeypatch):
    """Every pair lies at the threshold, which rounding cannot tell from below it."""
    train = np.zeros((40, 4, 4), np.uint8)
    train[::2, 0, 0] = 1
    images = np.zeros((30, 4, 4), np.uint8)
    images[:, 1, 1] = 255
    sizes = compared(monkeypatch)
    assert copies_of(train, 1.0)(images) == 0
    assert sum(sizes) == 30 * 40 and max(sizes) == 32
    sizes.clear()
    images[:] = 0
    assert copies_of(train, 1.0)(images) == 1
    assert sum(sizes) <= 64, "an image that is a copy is compared no further"


def test_pairs_that_components_do_not_tell_apart_are_told_apart_by_pixels(monkeypatch):
    """Noise outside the component hides that no image is a copy."""
    generator = np.random.default_rng(4)
    train = np.zeros((40, 4, 4), np.uint8)
    train[::2, 0, 0] = 1
    images = generator.integers(200, 256, (30, 4, 4), np.uint8)
    images[:, 0, 0] = 0
    sizes = compared(monkeypatch)
    assert copies_of(train, 1.0)(images) == 0 and sum(sizes) == 0


def test_memorisation_of_digits_is_that_of_all_distances_with_or_without_the_stored_threshold(smoke, places):
    dataset = splits.load(places.data)
    train, test = dataset.train.images, dataset.test.images
    real, _ = reference_sets(smoke, dataset, references(smoke), torch.device("cpu"))
    distances = by_all_distances(test, train)
    assert real.near == pixel.copy_distance(train, test) == np.quantile(distances.min(axis=1), pixel.NEAR)
    images = np.concatenate([test[:100], train[:50], np.zeros_like(test[:2]), test[:50] // 2 + train[:50] // 2])
    expected = (by_all_distances(images, train) < real.near).any(axis=1).mean()
    samples = Samples(images, torch.zeros(len(images), 1), torch.zeros(len(images), 10), None)
    for known in (real, Real(**vars(real) | {"near": None})):
        assert pixel.family(known)(samples)["memorisation"] == expected
    assert 0.25 < expected < 0.6
    with pytest.raises(ValueError, match="no images"):
        copies_of(train, real.near)(images[:0])


def test_errors_are_of_each_word_and_of_any(smoke, places):
    dataset = splits.load(places.data)
    test = dataset.test
    right = torch.eye(10)[torch.from_numpy(test.labels)]
    assert errors(test.images, right, test.prompts, dataset.bounds) == (0, 0, 0, 0)
    wrong = test.prompts.copy()
    wrong[:, 1] = 10 + (wrong[:, 1] - 9) % 3
    assert errors(test.images, right, wrong, dataset.bounds) == (0, 1, 0, 1)
    other = right.clone()
    other[:200] = other[:200].roll(1, dims=1)  # 200 of 400 show another digit
    half = test.prompts.copy()
    half[100:300, 2] = 14 + (half[100:300, 2] - 13) % 3  # and 200, of which 100 are the same, another slant
    assert errors(test.images, other, half, dataset.bounds) == (0.5, 0, 0.5, 0.75)


@pytest.fixture
def scored(smoke, places):
    """The real images of the smoke run, and a function from images and prompts to all scores."""
    dataset = splits.load(places.data)
    network = classifier.load(places.classifier, smoke.classifier, image_side(smoke), torch.device("cpu"))
    real, _ = reference_sets(smoke, dataset, references(smoke), torch.device("cpu"))
    # As many neighbours as there are test images, rather than as few as the smoke run samples.
    rows = torch.from_numpy(subset(real.labels, len(dataset.test.labels), "manifold"))
    # The samples below are test images, so other images than those are what no network was trained on.
    real = Real(**vars(real) | {"neighbourhood": real.features[rows], "unseen": dataset.validation.images})
    score = measure(real)

    def of(images: np.ndarray, prompt: np.ndarray | None) -> dict[str, float]:
        return score(Samples(images, *classifier.apply(network, splits.to_float(images)), prompt))

    return dataset, of


def test_other_judges_score_by_features_and_classes_of_their_own(smoke, places):
    """Against a distance and an error worked out by hand, for samples and for the real images on file."""
    dataset, cpu = splits.load(places.data), torch.device("cpu")
    real, _ = reference_sets(smoke, dataset, references(smoke), cpu)
    ask, test = panel(smoke, dataset, references(smoke), real, cpu), dataset.test
    first = classifier.load(places.classifier, smoke.classifier, dataset.side, cpu)
    (other,) = classifier.load_others(places.other_classifiers, smoke.classifier, dataset.side, cpu)
    assert any(not torch.equal(a, b) for a, b in zip(first.parameters(), other.parameters(), strict=True))
    (found,) = ask(test.images, test.prompts)
    train, _ = classifier.apply(other, splits.to_float(dataset.train.images))
    features, logits = classifier.apply(other, splits.to_float(test.images))
    assert found["judge"] == 1 and found["fid"] == pytest.approx(Frechet(train)(features), rel=1e-9)
    assert found["digit_error"] == np.mean(logits.argmax(dim=1).numpy() != test.labels)
    assert found["joint_error_withheld"] is None and set(found) == {"judge", *schema.JUDGED}
    (unasked,) = ask(test.images, None)
    assert unasked["digit_error"] is None and unasked["fid"] == found["fid"]
    on_file = read_json(places.floors)["judges"]
    rows = subset(test.labels, smoke.sampling.images, "floor")
    assert on_file == ask(test.images[rows], test.prompts[rows])


def test_more_judges_leave_the_first_classifier_as_it_is(smoke, places):
    before, others = places.classifier.read_bytes(), places.other_classifiers.read_bytes()
    more = dataclasses.replace(smoke, classifier=dataclasses.replace(smoke.classifier, epochs=4, judges=1))
    classifier_stage.run(more)
    alone = places.classifier.read_bytes()
    assert classifier.load_others(places.other_classifiers, smoke.classifier, 8, torch.device("cpu")) == []
    classifier_stage.run(dataclasses.replace(more, classifier=dataclasses.replace(more.classifier, judges=2)))
    assert places.classifier.read_bytes() == alone != before and places.other_classifiers.read_bytes() != others


def collapsed(split: splits.Split) -> np.ndarray:
    """Every image replaced by one of the three of its digit that lie nearest the digit's mean."""
    images = split.images.copy()
    for digit in range(10):
        rows = np.flatnonzero(split.labels == digit)
        flat = split.images[rows].reshape(len(rows), -1) / 255
        central = rows[np.argsort(((flat - flat.mean(axis=0)) ** 2).sum(axis=1))[:3]]
        images[rows] = split.images[np.resize(central, len(rows))]
    return images


def perturbed(name: str, dataset: splits.Dataset) -> tuple[np.ndarray, np.ndarray | None]:
    """Images and prompts of the test split with one thing wrong."""
    test = dataset.test
    images, prompt = test.images, test.prompts
    if name == "blur":
        images = ndimage.gaussian_filter(images.astype(float), (0, 0.5, 0.5)).round().astype(np.uint8)
    elif name == "contrast":
        images = (0.8 * images).round().astype(np.uint8)
    elif name == "binarised":
        images = np.where(images >= 128, 255, 0).astype(np.uint8)
    elif name == "collapse":
        images = collapsed(test)
    elif name == "dropped class":
        images, prompt = images[test.labels != 9], None
    elif name == "wrong labels":
        prompt = prompt.copy()
        prompt[::20, 0] = (prompt[::20, 0] + 1) % 10
    elif name == "gap":
        images = images.copy()
        images[:, 4] = 0
    elif name == "copies":
        rows = subset(dataset.train.labels, len(images), "copies")
        images, prompt = dataset.train.images[rows], dataset.train.prompts[rows]
    elif name == "unasked":
        prompt = None
    return images, prompt


# What must see a perturbation, with the sign of its change, and what must not.
SEEN = {
    "blur": ("+fid +kid +pca_fid -recall -coverage -sharpness -contrast -detail", "brightness copied"),
    "contrast": ("+fid +kid +pca_fid -recall -coverage -sharpness -contrast -brightness +weight_error", ""),
    "binarised": ("+fid +kid +pca_fid -precision -density -coverage +sharpness +contrast +detail", "topology"),
    "collapse": ("+fid +pca_fid -recall -coverage +topology +weight_error +slant_error", "precision digit_error"),
    "dropped class": ("+fid +pca_fid -coverage +topology", "precision sharpness memorisation"),
    "wrong labels": ("+digit_error +joint_error", "fid kid precision recall coverage pca_fid sharpness"),
    "gap": ("+fid +kid +pca_fid -precision -recall -coverage +topology", "contrast"),
    "copies": ("+memorisation +copied", "precision recall contrast sharpness topology"),
}
# A change that counts, in the unit of each measure; those of distances are shares of the floor.
LEAST = {"fid": 0.5, "kid": 0.05, "pca_fid": 0.3, "brightness": 0.02, "sharpness": 0.1, "topology": 0.05}
LEAST |= {
    "memorisation": 0.2,
    "digit_error": 0.04,
    "joint_error": 0.03,
    "precision": 0.1,
    "copied": 0.8,
    "detail": 0.02,
}


@pytest.mark.parametrize("name", SEEN)
def test_each_perturbation_moves_the_measures_that_should_see_it_and_no_others(name, scored):
    dataset, of = scored
    before = of(*perturbed("unasked" if name == "dropped class" else "", dataset))
    after = of(*perturbed(name, dataset))
    seen, blind = SEEN[name]
    for change in seen.split():
        sign, column = 1 if change[0] == "+" else -1, change[1:]
        least = LEAST.get(column, 0.05) * (before[column] if column in ("fid", "pca_fid") else 1)
        assert sign * (after[column] - before[column]) > least, (column, before[column], after[column])
    for column in blind.split():
        if column == "precision" and name in ("collapse", "dropped class", "copies"):
            assert after[column] > before[column] - 0.02  # rises
        elif column in ("digit_error", "topology") or name == "copies":
            assert after[column] < before[column] + 0.05, column  # no worse
        elif column == "copied":
            assert abs(after[column]) < 0.1
        else:
            assert after[column] == pytest.approx(before[column], rel=0.05, abs=0.01), column


def test_prompts_in_another_order_give_the_error_of_chance(scored):
    """Real test images follow their own prompts, and those of others as often as words meet by chance."""
    dataset, of = scored
    test = dataset.test
    values = of(test.images, test.prompts)
    alike = np.mean([np.mean((test.prompts == row).all(axis=1)) for row in test.prompts])
    assert values["joint_error"] < 0.15 and values["joint_error_shuffled"] == pytest.approx(1 - alike, abs=0.02)


def test_copies_gain_on_the_training_split_and_not_on_images_held_out(scored):
    """Means over sets of copies, because 400 images of 16 features say little."""
    dataset, of = scored
    real, train = of(*perturbed("", dataset)), dataset.train
    draws = [np.random.default_rng(seed).permutation(len(train.images))[:400] for seed in range(6)]
    copies = [of(train.images[rows], train.prompts[rows]) for rows in draws]
    share = {name: np.mean([own[name] for own in copies]) / real[name] for name in ("fid", "fid_held_out")}
    assert share["fid"] < 0.9 and share["fid_held_out"] > 1


def test_half_copies_are_half_memorised(scored):
    dataset, of = scored
    images, prompt = perturbed("copies", dataset)
    images[::2], prompt[::2] = dataset.test.images[::2], dataset.test.prompts[::2]
    assert of(images, prompt)["memorisation"] == pytest.approx(0.525, abs=0.015)
    assert of(images, prompt)["copied"] == pytest.approx(0.5, abs=0.05)
    moved = np.roll(dataset.train.images[:400], 1, axis=2)
    assert of(moved, None)["memorisation"] < 0.02, "what the column says it is blind to"
    floor = of(dataset.test.images, None)
    assert floor["memorisation"] == pytest.approx(0.05, abs=0.003) and abs(floor["copied"]) < 0.05


def test_detail_is_the_share_of_power_above_half_the_nyquist_frequency():
    """Of waves along a row of 16 pixels: 2 periods lie below half of 8, 6 above."""
    x = np.arange(16)
    slow, fast = (np.tile(np.rint(127.5 + 100 * np.cos(2 * np.pi * k * x / 16)), (1, 16, 1)) for k in (2, 6))
    assert detail(slow.astype(np.uint8)) == pytest.approx(0, abs=1e-4)
    assert detail(fast.astype(np.uint8)) == pytest.approx(1, abs=1e-4)
    both = (slow + fast) / 2
    assert detail(both.astype(np.uint8)) == pytest.approx(0.5, abs=0.01)
    assert detail(np.full((3, 8, 8), 9, np.uint8)) == 0


def test_halves_correlate_within_digits_only():
    """Halves that share their ink are 1, halves with ink of their own 0, whatever the digits' own ink."""
    generator = np.random.default_rng(0)
    digits = np.repeat([0, 1], 500)
    ink = generator.integers(0, 100, (1000, 2))

    def drawn(upper, lower):
        images = np.zeros((1000, 8, 8), np.uint8)
        images[:, :4] = upper[:, None, None] + 100 * digits[:, None, None]
        images[:, 4:] = lower[:, None, None] + 100 * digits[:, None, None]
        return images

    assert halves(drawn(ink[:, 0], ink[:, 0]), digits) == pytest.approx(1)
    assert abs(halves(drawn(ink[:, 0], ink[:, 1]), digits)) < 0.1
    assert halves(drawn(ink[:, 0], 99 - ink[:, 0]), digits) == pytest.approx(-1)
    assert halves(np.zeros((4, 8, 8), np.uint8), digits[:4]) == 0


@pytest.mark.parametrize("case", ["identical", "few", "constant", "empty", "one class", "class missing"])
def test_edge_cases_give_defined_values(case, scored):
    dataset, of = scored
    split = dataset.train if case == "identical" else dataset.test
    images, prompt = split.images, split.prompts
    if case == "few":
        images, prompt = images[:8], prompt[:8]  # of 16 features and 61 components
    elif case in ("constant", "empty"):
        images = np.full_like(images, 120 if case == "constant" else 0)
    elif case == "one class":
        images, prompt = images[split.labels == 3], prompt[split.labels == 3]
    elif case == "class missing":
        images, prompt = images[split.labels != 3], prompt[split.labels != 3]
    values = of(images, prompt)
    where_withheld = {"joint_error_withheld", "joint_error_gap"}
    assert set(values) == {column.name for column in schema.SCORES} - where_withheld
    assert all(np.isfinite(value) for value in values.values()), values
    if case == "identical":
        assert values["fid"] == pytest.approx(0, abs=1e-5) and values["pca_fid"] == pytest.approx(0, abs=1e-9)
        assert values["topology"] == 0 and values["memorisation"] == 1
    if case == "empty":
        assert values["contrast"] == values["sharpness"] == values["density"] == 0
    if case == "one class":
        assert values["topology"] > 0.9
    asked = {"digit_error", "weight_error", "slant_error", "joint_error", "joint_error_shuffled"}
    assert set(of(images, None)) == set(values) - asked


def test_sets_refuse_what_is_not_finite_or_not_grey():
    images, features, logits = np.zeros((6, 8, 8), np.uint8), torch.zeros(6, 4), torch.zeros(6, 10)
    Samples(images, features, logits, None)
    with pytest.raises(ValueError, match="expected uint8"):
        Samples(np.full((6, 8, 8), np.nan, np.float32), features, logits, None)
    with pytest.raises(ValueError, match="not finite"):
        Samples(images, features.fill_(torch.nan), logits, None)
    with pytest.raises(ValueError, match="as many of each"):
        Samples(images, torch.zeros(6, 4), logits, np.zeros((5, 3), int))
    with pytest.raises(ValueError, match="4 features of 6 real images"):
        Real(torch.zeros(4, 4), torch.zeros(4, 4), 1, np.zeros((2, 10, 2)), images, np.zeros(6, int), images)


def test_every_score_says_what_it_is_blind_to():
    assert all(column.blind for column in schema.SCORES)
    assert len(FAMILIES) == 7


@pytest.mark.slow
def test_the_whole_set_on_ten_thousand_images_takes_less_than_a_minute():
    import time

    generator = np.random.default_rng(0)
    images = [generator.integers(0, 256, (10000, 28, 28), np.uint8) for _ in range(2)]
    features = [torch.from_numpy(generator.normal(size=(10000, 128)).astype(np.float32)).relu() for _ in range(2)]
    digits = np.arange(10000) % 10
    prompt = np.stack([digits, digits % 3 + 10, digits % 3 + 14], axis=1)
    torch.set_num_threads(2)
    start = time.perf_counter()
    bounds = np.sort(generator.normal(size=(2, 10, 2)))
    withheld = np.zeros((10, 3, 3), bool)
    withheld[0, 0, 0] = True
    known = features[0], features[0], 5, bounds, images[0], digits, images[1]
    real = Real(*known, held_out=features[0][:5000], withheld=withheld)
    values = measure(real)(Samples(images[1], features[1], torch.eye(10)[digits], prompt))
    assert time.perf_counter() - start < 60
    assert set(values) == {column.name for column in schema.SCORES}


def test_the_cross_check_with_torchmetrics_bears_dead_features():
    """Half of 128 rectified features dead and a large trace, as of a classifier: the two agree to what is asked."""
    generator = torch.Generator().manual_seed(0)
    mixing = torch.randn(128, 128, generator=generator)
    mixing[:, 60:] = 0
    first, second = (3 * (torch.randn(n, 128, generator=generator) @ mixing).relu() / 2 for n in (3000, 1000))
    trace = float(first.double().var(dim=0).sum())
    assert trace > 1e3 and int((first.var(dim=0) == 0).sum()) >= 40
    assert Frechet(first)(second) == pytest.approx(by_torchmetrics(first, second), rel=1e-4, abs=1e-6 * trace)


def test_sets_drawn_at_random_have_class_counts_of_their_own():
    """As an unconditional model's: binomial, where captions would ask for exactly a tenth each."""
    labels = torch.arange(500).remainder(10)[:, None].double()
    counts = np.array([(some == 3).sum().item() for some in random_draws(labels, 400, draws=200)])
    assert abs(counts.mean() - 40) < 4 * 6 / 200**0.5 and 5 < counts.std() < 7  # sqrt(400 x 0.1 x 0.9) = 6


def test_the_floor_of_few_real_images_is_carried_to_as_many_as_are_sampled():
    """Gaussian features of known FID: of 400 images, carried to 1,000, against 1,000 of the same."""
    generator = torch.Generator().manual_seed(0)
    distance = Frechet(torch.randn(20_000, 32, generator=generator, dtype=torch.float64))

    def scores(count: int) -> dict[str, float]:
        features = torch.randn(count, 32, generator=generator, dtype=torch.float64)
        some = Samples(np.zeros((count, 8, 8), np.uint8), features, torch.zeros(count, 10), None)
        fid = distance(features)
        return {"fid": fid, "fid_infinity": to_infinity(distance, fid, some), "fid_held_out": fid + 1}

    few = [scores(400) for _ in range(20)]
    carried = [at_as_many(one, 400, 1000) for one in few]
    wanted = np.mean([scores(1000)["fid"] for _ in range(20)])
    assert np.mean([one["fid"] for one in few]) > 1.5 * wanted
    assert np.mean([one["fid"] for one in carried]) == pytest.approx(wanted, rel=0.1)
    assert all(one["fid_held_out"] == pytest.approx(one["fid"] + 1) for one in carried)
    assert at_as_many(few[0], 1000, 1000) is few[0] and at_as_many({"fid": None}, 4, 1000) == {"fid": None}
