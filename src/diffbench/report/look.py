"""How the page tells rows apart: colour says the objective, outline and dash say the network."""

from diffbench.config.models import Params

# Light and dark colours, told apart under the three colour deficiencies too. Outline and dash say other things.
COLOURS = ("#0002d6", "#ed350c", "#009fbf", "#73364a", "#000000")
OBJECTIVES = {"velocity": 0, "eps": 1, "v": 2, "x0": 3}  # place in COLOURS; any other target has the last
DASHES = ([1, 0], [7, 3], [2, 3], [8, 3, 2, 3])
# Outlines in a square from -1 to 1, clockwise: what is cut out of them runs the other way.
OUTLINES = {
    "circle": "M-1,0A1,1,0,1,1,1,0A1,1,0,1,1,-1,0Z",
    "square": "M-.9,-.9H.9V.9H-.9Z",
    "diamond": "M0,-1.25L1.25,0L0,1.25L-1.25,0Z",
    "triangle": "M0,-1.1L1.1,.9H-1.1Z",
}
CUTS = {  # of rows that share objective and network
    "full": "",
    "ring": "M-.55,0A.55,.55,0,1,0,.55,0A.55,.55,0,1,0,-.55,0Z",
    "bar": "M-.62,-.25V.25H.62V-.25Z",
    "post": "M-.25,-.62V.62H.25V-.62Z",
}
NAMES = {"unet": "U-Net", "dit": "DiT", "mmdit": "MMDiT"}
NETWORKS = tuple(NAMES)
ROLES = {"bridge": 0, "recipe": 1, "factor": 3}


def shape(outline: str, cut: str) -> str:
    """A mark as the path of an SVG."""
    return OUTLINES[outline] + CUTS[cut]


def looks(params: Params) -> dict[str, dict]:
    """Colour, outline, dash and the path of the mark of each row, by its id.

    A row of the grid has the full mark of its objective and network; recipes and others that share both are cut.
    """
    networks = [*NETWORKS, *(row.network for row in params.paradigms.values() if row.network not in NETWORKS)]
    networks = list(dict.fromkeys(networks))
    taken: dict[tuple[str, str], int] = {}
    found: dict[str, dict] = {}
    order = sorted(params.paradigms.items(), key=lambda item: ROLES.get(item[1].role, 4) if item[1].conditional else 2)
    for key, row in order:
        kind = row.target, row.network
        place = networks.index(row.network)
        cut = list(CUTS)[taken.get(kind, 0) % len(CUTS)]
        taken[kind] = taken.get(kind, 0) + 1
        colour = OBJECTIVES.get(row.target, len(COLOURS) - 1)
        found[key] = {
            "colour": COLOURS[colour],
            "variable": f"--p{colour}",
            "dash": DASHES[place % len(DASHES)],
            "path": shape(list(OUTLINES)[place % len(OUTLINES)], cut),
        }
    return {key: found[key] for key in params.paradigms}


def objectives_key(params: Params) -> list[tuple[str, str]]:
    """The objectives of a run and the variable of each one's colour."""
    every = looks(params)
    return list({row.target: (row.target, every[key]["variable"]) for key, row in params.paradigms.items()}.values())


def networks_key(params: Params) -> list[tuple[str, str]]:
    """The networks of a run by name, and the full outline of each."""
    every = looks(params)
    found = {row.network: every[key]["path"] for key, row in params.paradigms.items()}
    full = {network: next(o for o in OUTLINES.values() if path.startswith(o)) for network, path in found.items()}
    return [(NAMES.get(network, network), path) for network, path in full.items()]


def by_label(params: Params, keys: list[str]) -> dict[str, dict]:
    """The looks of some rows by their labels."""
    every = looks(params)
    return {params.paradigms[key].label: every[key] for key in keys}
