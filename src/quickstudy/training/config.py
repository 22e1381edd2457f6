"""A run as data: every number needed to repeat it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields, replace
from functools import cache
from typing import Any, Literal, TypedDict, get_args, get_origin, get_type_hints

from quickstudy import registry
from quickstudy.brief import Brief
from quickstudy.engine import Compile, Precision, Vectorize
from quickstudy.errors import CheckpointError, ConfigError, unknown_name
from quickstudy.hints import Count, misfit, plain
from quickstudy.registry import Part
from quickstudy.storage.folders import check_name
from quickstudy.storage.tensors import FORMAT
from quickstudy.tasks.base import Sampling
from quickstudy.training.choice import Choose
from quickstudy.training.options import OuterOptions
from quickstudy.training.protocol import Protocol, tuples

PARTS: dict[str, registry.Registry[Any, Any]] = {
    "tasks": registry.sources,
    "model": registry.models,
    "learner": registry.learners,
}


Init = Literal["given", "fresh"]
_CHOICES = {"init": Init, "choose": Choose, "vectorize": Vectorize, "compile": Compile, "precision": Precision}
_AT_LEAST_ONE = (
    "shots", "batch", "calibration_episodes", "meta_batch", "reuse", "parts", "validate_every", "validation_episodes",
    "checkpoint_every", "log_every",
)  # fmt: skip
_MOST = 1 << 24  # examples at once; of images of 28 x 28 pixels, 50 GB


class _Stored(TypedDict):
    """A part as JSON."""

    name: str
    options: dict[str, Any]


@dataclass(frozen=True, kw_only=True)
class RunConfig(Brief):
    """Everything that defines a run. Recipes are plain functions that return one."""

    name: str
    """What the run is called; also its folder under runs/."""
    tasks: Part[Any] = registry.sources.part(registry.OWN)
    """Where episodes come from; left out where the tasks are given as `source`."""
    model: Part[Any] = registry.models.part(registry.OWN)
    """The network that the learner adapts; left out where it is given as `module`."""
    learner: Part[Any]
    """How a task is learned."""

    ways: Count = 5
    """Classes per task (N), for validation and evaluation."""
    shots: Count = 1
    """Support examples per class (K)."""
    queries: Count = 15
    """Query examples per class (Q)."""
    train_ways: Count | None = None
    """Classes per training task; the same as `ways` if not given."""
    train_shots: Count | None = None
    """Support examples per class in training; the same as `shots` if not given."""
    train_queries: Count | None = None
    """Query examples per class in training; the same as `queries` if not given."""
    min_ways: Count | None = None
    """If given, training tasks have between `min_ways` and `train_ways` classes."""
    min_shots: Count | None = None
    """If given, classes of training tasks have between `min_shots` and `train_shots` support examples."""
    train_support: Count | None = None
    """If given, the shots of training classes are drawn unequally, as in Meta-Dataset: at most so many in a task, and
    `train_shots` of a class."""
    train_groups: Count | None = None
    """Groups (such as alphabets) that the classes of a training task come from; the source's choice if not given."""
    unlabelled: Count = 0
    """Further support examples of each class, without a label, for learners that use them (semi-protonet)."""
    distractors: Count = 0
    """Further classes in a task, of which there are unlabelled support examples only."""
    init: Init = "given"
    """How a network of your own starts: from its own weights and statistics ('given'), or drawn anew from the seed
    ('fresh'). So do named ones that have weights from elsewhere, such as 'squeezenet'; the others are drawn."""
    output: str = ""
    """Which part of what a network of your own gives is its output, where it gives several: the key of a dict (such as
    'logits' or 'last_hidden_state'), or the number of a tuple's part."""
    start: str = ""
    """The folder of a run, of any learner, whose network this one starts from; what does not fit is drawn anew."""
    teacher: str = ""
    """The folder of a finished run of the same network and learner, for learners that imitate its answers."""
    choose: Choose = "uniform"
    """Which training tasks come more often: all alike ('uniform'), those of classes or domains with a high 'loss', or
    that were in steps whose gradient agrees with that of validation tasks ('alignment'; 'exp3' is a bandit with this
    reward). Both of the latter cost as much as a second batch in each step."""
    candidates: Count = 8
    """Of how many tasks one is chosen."""
    trainable: tuple[str, ...] = ()
    """The parameters that training moves, by their names in the network, such as "head.*"; "!backbone.*" means all but
    these. All that are not frozen if not given."""
    shuffle_labels: bool = False
    """Permute the class ids of every training task at random, so that they cannot be guessed from the inputs."""
    target_offset: float = 0.0
    """Spread, in units of the target, of one random number for each training task, added to all of its targets."""
    batch: Count = 128
    """Examples per step for learners that pretrain on ordinary batches instead of episodes."""

    iterations: int = 1000
    """Outer steps."""
    meta_batch: Count = 4
    """Tasks per outer step (T)."""
    reuse: Count = 1
    """How often the tasks of an outer step are gone through, each time with steps of the optimizer."""
    parts: Count = 1
    """In how many parts, each a step of the optimizer, the tasks of an outer step are taken."""
    optimizer: str = "Adam"
    """Outer optimizer: the name of a class in torch.optim; "Muon" takes convolutions too."""
    lr: float = 1e-3
    """Outer learning rate, of all that has none of its own."""
    rates: dict[str, float] = field(default_factory=dict)
    """Outer learning rates of parts of φ, by patterns of names: backbone.* 1e-5 head.* 1e-3; the first that matches."""
    optimizer_options: dict[str, Any] = field(default_factory=dict)
    """Further arguments of the optimizer, such as weight_decay 0.01 betas "[0.9, 0.99]"."""
    schedule: str = "none"
    """Outer schedule: 'none', or the name of a class in torch.optim.lr_scheduler."""
    schedule_options: dict[str, Any] = field(default_factory=dict)
    """Its arguments, such as milestones "[500, 800]"; T_max, total_steps default to `iterations`, max_lr to `lr`."""
    clip: float = 0.0
    """Largest norm of the meta-gradient; 0 leaves it as it is."""
    average: float = 0.0
    """Decay of the exponential moving average of φ that is validated and kept; 0 keeps φ itself."""
    metagrad: str | None = None
    """Meta-gradient estimator; the learner's own if not given."""
    metagrad_options: dict[str, Any] = field(default_factory=dict)
    """Its arguments, such as last 2 for 'truncated'."""

    validate_every: int = 500
    """Outer steps between validations; the best validated φ is kept, or the last if no class is held out."""
    validation_episodes: int = 200
    """Tasks per validation."""
    calibration_episodes: int = 10
    """Training tasks, without augmentation, over which BatchNorm statistics are taken."""
    checkpoint_every: int = 500
    """Outer steps between checkpoints."""
    log_every: int = 20
    """Outer steps between lines of metrics."""

    seed: int = 0
    """Seed of the initial φ and of every episode."""
    device: str = "auto"
    """'auto', 'cpu', 'cuda', 'cuda:1' or 'mps'."""
    vectorize: Vectorize = "auto"
    """How tasks of a batch run: 'vmap', 'loop', or 'auto', which measures on the first steps and keeps the fastest."""
    compile: Compile = "auto"
    """Compiled meta-steps: 'auto' where the time saved exceeds what compiling costs, 'on' at once, or 'off'."""
    precision: Precision = "float32"
    """Arithmetic of the network: 'float32', 'tf32' (in meta-gradients) or 'bfloat16'; φ, heads, losses stay float32."""
    protocols: tuple[Protocol, ...] = ()
    """What `quickstudy reproduce` measures after training."""

    def __post_init__(self) -> None:
        for name, hint in _hints().items():
            _require(name, getattr(self, name), str if name in _CHOICES else hint)
        check_name(self.name)
        for name in _AT_LEAST_ONE:
            if getattr(self, name) < 1:
                raise ConfigError(f"{name} must be at least 1, found {getattr(self, name)}.")
        if self.parts > self.meta_batch:
            raise ConfigError(f"{self.meta_batch} tasks cannot be taken in {self.parts} parts. Lower the parts.")
        for name, kind in _CHOICES.items():
            if getattr(self, name) not in get_args(kind):
                raise unknown_name(f"value of {name}", getattr(self, name), get_args(kind))
        _ = self.outer  # checks what it is given
        if self.train_shots is not None and self.train_shots < 1:
            raise ConfigError(f"train_shots must be at least 1, found {self.train_shots}.")
        for what, tasks, size in (
            ("validation task", 1, self.sampling),
            ("outer step", self.meta_batch, self.train_sampling),
        ):
            examples = tasks * size.ways * (size.shots + size.queries)
            if examples > _MOST:
                raise ConfigError(
                    f"One {what} would have {examples:,} examples, and {_MOST:,} are the most. Take fewer ways, shots "
                    "or queries, or a smaller meta_batch."
                )

    @property
    def outer(self) -> OuterOptions:
        """How φ moves: of its steps there are `reuse` times `parts` to each outer step."""
        options = {one.name: getattr(self, one.name) for one in fields(OuterOptions)}
        return OuterOptions(**options | {"iterations": self.iterations * self.reuse * self.parts})

    @property
    def sampling(self) -> Sampling:
        """The tasks of validation and evaluation."""
        return Sampling(self.ways, self.shots, self.queries)

    @property
    def train_sampling(self) -> Sampling:
        """The tasks of training."""
        return Sampling(
            self.ways if self.train_ways is None else self.train_ways,
            self.shots if self.train_shots is None else self.train_shots,
            self.queries if self.train_queries is None else self.train_queries,
            self.min_ways,
            self.min_shots,
            self.train_groups,
            self.train_support,
        )

    @property
    def weighted(self) -> bool:
        """Whether the model names weights from elsewhere."""
        return self.model.settings() != self.model.drawn().settings()

    def settled(self) -> RunConfig:
        """As a run stores it: with absolute paths, and with what its model and tasks read from elsewhere."""
        return replace(self, model=self.model.settled(), tasks=self.tasks.settled())

    def to_json(self) -> dict[str, Any]:
        """Plain data, defaults written out."""
        data: dict[str, Any] = {"format": FORMAT}
        data |= {f.name: getattr(self, f.name) for f in fields(self)}
        for name in PARTS:
            data[name] = {"name": data[name].name, "options": data[name].settings()}
        data["protocols"] = [asdict(protocol) for protocol in self.protocols]
        return {name: plain(value) for name, value in data.items()}

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> RunConfig:
        """The inverse of `to_json`; CheckpointError for a later format, ConfigError for settings it does not know."""
        if not isinstance(data, Mapping):
            raise ConfigError(f"The settings of a run must be an object of names and values, found {data!r:.60}.")
        _require("format", data.get("format", FORMAT), int)
        if data.get("format", FORMAT) > FORMAT:
            raise CheckpointError(
                f"The config has format {data['format']}, written by a newer quickstudy; this version reads up to "
                f"{FORMAT}. Upgrade with: pip install --upgrade quickstudy"
            )
        data = {name: value for name, value in data.items() if name != "format"}
        known = {f.name for f in fields(cls)}
        for name in data:
            if name not in known:
                raise unknown_name("setting of a run", name, known)
        missing = [name for name in ("name", *PARTS) if name not in data]
        if missing:
            raise ConfigError(f"The settings of a run must name its {', '.join(missing)}.")
        values = dict(data)
        for name, value in data.items():
            if name in PARTS:
                _require(name, value, _Stored)
                values[name] = Part(PARTS[name], value["name"], {n: tuples(v) for n, v in value["options"].items()})
            elif name == "protocols":
                _require(name, value, list[Protocol])
                values[name] = tuple(map(Protocol.from_json, value))
            elif name == "trainable":
                values[name] = tuples(value)
        return cls(**values)

    def with_tasks(self, tasks: Part[Any]) -> RunConfig:
        """The same run on other tasks. What was chosen for the old ones (train_*, protocols, …) is dropped."""
        return replace(
            self, tasks=tasks, train_ways=None, train_shots=None, train_queries=None, min_ways=None, min_shots=None,
            train_support=None, train_groups=None, shuffle_labels=False, target_offset=0.0, protocols=(),
        )  # fmt: skip


@cache
def _hints() -> dict[str, Any]:
    """What each setting must be."""
    return get_type_hints(RunConfig, include_extras=True)


def _require(name: str, value: Any, hint: Any) -> None:
    """ConfigError for a setting that is not what `hint` says."""
    if get_origin(hint) is Part and not isinstance(value, Part):
        kind = PARTS[name].kind
        raise ConfigError(
            f"The {kind} of a run is {value!r:.60}, expected a part. Give one by its name and options: "
            f"{name}=quickstudy.registry.{kind.split()[-1]}s.part('NAME', option=…)."
        )
    if wrong := misfit(value, hint, f"The setting {name!r} of a run"):
        raise ConfigError(f"{wrong}. Correct it.")
