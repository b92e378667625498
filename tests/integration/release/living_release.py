"""Acts on a living installation, and what must be true of it after each of them."""

import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager

from line_candidates import LINE
from line_users import Background, Period, Permit, Permits, User, spread
from line_world import LineWorld, takes

from ferryman.errors import DependencyUnavailable, ExitCode, FerrymanError
from ferryman.ledger.records import PROMOTE, TRAFFIC, Op, State

LEASE = 120.0  # seconds: none runs out by chance
MOST_KILLS, MOST_VERSIONS, ASKED = 3, 20, 10
MOVING = {State.GATED, State.STAGED, State.APPROVED, State.EXPOSED, State.PROVEN}
REFUSED = {ExitCode.SPEC, ExitCode.SUPERSEDED, ExitCode.RACE, ExitCode.POLICY}


class LivingRelease:
    """One installation. `lags`: the server may be behind the ledger; `lost`: it gives no share,
    though the ledger has one; `leftovers`: shares that replicas without a front may go on with.
    `happened` counts what was brought about. `pick` and `yes` are chance's say in the next act.
    """

    def __init__(self, world: LineWorld, happened: Counter[str]) -> None:
        self.world = world
        self.ledger = self.world.ledger
        self.pick, self.yes = 0, False
        self.kills = 0
        self.deleted: set[int] = set()
        self.headless = self.lags = self.lost = False
        self.champion = Permit(0, 0)
        self.leftovers: set[Permit] = set()
        self.permits = Permits()
        self.happened = happened
        self.user = User(self.world.settings.serving_port)
        self.background = Background(self.world)

    def close(self) -> None:
        """End users and server; count what the ledger holds of all that was brought about."""
        for row in self.ledger.history(LINE):
            self.happened[f"{row.kind} {row.state}"] += 1
        for note in self.ledger.notes(LINE):
            self.happened[note.kind] += 1
        self.background.__exit__()
        self.user.close()
        self.world.close()

    def begin(self) -> None:
        """Two versions serve, one after the other, so that there is one to go back to."""
        for number in (1, 2):
            made = self.world.register(number)
            self.world.serve(made)
            self.champion = Permit(self.world.epoch, made.candidate.version)
        now = time.time()
        self.permits.periods.append(Period(now, float("inf"), self.allowed()))
        self.background.__enter__()

    # What is true now.

    def share(self) -> Permit | None:
        """The share that the ledger says."""
        told = self.ledger.routing(LINE)
        if not told.weight or told.head is None:
            return None
        return Permit(told.head.epoch, told.version, told.op_id, told.weight)

    def allowed(self) -> frozenset[Permit]:
        share = self.share()
        return frozenset({self.champion, *self.leftovers, *([share] if share else [])})

    def ops(self) -> list[Op]:
        return [op for op in self.ledger.ops(LINE) if op.kind == PROMOTE]

    def op(self, pick: int) -> Op | None:
        """One of the newest that is not at its end, those first that may be released."""
        ended = (State.DONE, State.SUPERSEDED)
        found = [op for op in self.ops() if op.state not in ended]
        epoch = self.world.epoch
        found.sort(key=lambda op: (self.moves(op, epoch), op.candidate.version))
        return found[-1 - pick] if pick < len(found) else None

    def on_its_way(self) -> Op | None:
        """The newest that may be released beside the champion of now."""
        op = self.op(0)
        return op if op is not None and self.moves(op, self.world.epoch) else None

    def moves(self, op: Op, epoch: int) -> bool:
        if op.state not in MOVING or op.base_epoch != epoch:
            return False
        return not self.ledger.is_quarantined(LINE, op.candidate.digest)

    def frozen(self) -> bool:
        head = self.ledger.head(LINE)
        return head is not None and head.frozen

    @contextmanager
    def act(self, *, rough: bool = False) -> Iterator[None]:
        """One act, which may be refused; while it lasts, the old and the new may answer."""
        self.find_front()
        before, began, headless = self.allowed(), time.time(), self.headless
        rows = len(self.ledger.notes(LINE, TRAFFIC))
        self.permits.periods[-1].ended = began
        try:
            yield
        except DependencyUnavailable:
            assert headless
            self.happened["without a front"] += 1
        except FerrymanError as error:
            gone = self.deleted and error.exit_code == ExitCode.INTEGRITY
            assert gone or error.exit_code in REFUSED, error
            self.happened[f"refused {int(error.exit_code)}"] += 1
        self.find_front()
        self.read_champion()
        told = [note.evidence for note in self.ledger.notes(LINE, TRAFFIC)[rows:]]
        during = {
            Permit(note["base_epoch"], note["version"], note["op"], note["weight"]) for note in told
        }
        made = [op for op in self.ledger.history(LINE) if op.state is State.COMMITTED]
        during |= {
            Permit(op.base_epoch + 1, op.candidate.version)
            for op in made
            if self.champion.epoch > op.base_epoch >= min(one.epoch for one in before)
        }
        ended, after = time.time(), self.allowed()
        self.permits.periods.append(Period(began, ended, before | during | after, rough))
        self.permits.periods.append(Period(ended, float("inf"), after))

    def find_front(self) -> None:
        """Replicas whose front was killed start a new one by themselves, after a while."""
        if self.headless and self.world.deployer.status().process:
            self.world.deployer.start()
            self.headless = False
            self.happened["a front came back"] += 1

    def read_champion(self) -> None:
        if self.headless:
            return
        champion = self.server_champion()
        if champion != self.champion:  # a new epoch ends every share
            self.champion, self.leftovers, self.lost = champion, set(), False
            self.happened["another champion"] += 1

    def follow(self) -> None:
        """All was projected."""
        self.lags = False

    # What must hold after each of them.

    def agree(self) -> None:
        """Raise AssertionError where ledger, server or users disagree."""
        self.happened["checked"] += 1
        self.find_front()
        assert self.ledger.verify() == []
        share = self.share()
        if not share:
            self.lost = False
        self.server_agrees(share)
        for key in range(self.happened["checked"], self.happened["checked"] + ASKED):
            self.user_is_answered(key, share)
        self.background.check(self.permits)

    def server_agrees(self, share: Permit | None) -> None:
        """Live routing is what the replay of the rows says; behind it only where it may be."""
        if self.headless:
            self.happened["routed without a front"] += 1
            return
        told, state = self.ledger.routing(LINE), self.world.client.traffic(LINE)
        assert told.head == self.ledger.head(LINE) and told.head is not None
        assert self.server_champion() == self.champion
        if self.lags:
            self.happened["routed behind"] += 1
            commit = self.ledger.commit_of_epoch(LINE, self.champion.epoch)
            assert commit is not None and commit.candidate.version == self.champion.version
            return
        assert self.champion == Permit(told.head.epoch, told.head.version)
        given = None
        if state is not None:
            asked = state.traffic
            given = Permit(asked.base_epoch, asked.version, asked.op, asked.weight)
        assert given == (None if self.lost else share)
        self.happened["routed as replayed"] += 1

    def server_champion(self) -> Permit:
        served = self.world.client.status(LINE)
        assert served is not None and served["loaded"]
        return Permit(served["epoch"], served["version"])

    def user_is_answered(self, key: int, share: Permit | None) -> None:
        seen = self.user.ask(key, spread(key))
        self.permits.check(self.world, seen)
        sure = share is not None and not (self.lost or self.lags or self.leftovers)
        if sure and share is not None:
            taken = takes(share.op_id, share.weight, key)
            assert (seen.version == share.version) == taken, (seen, share)
        elif not self.lags and not self.leftovers:
            assert seen.version == self.champion.version, seen
