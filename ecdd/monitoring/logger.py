"""The event log: SQLite in WAL mode, or PostgreSQL by URL.

Every write is one transaction, so a process that dies leaves whole batches or nothing. SQLite writers queue for the
lock from the first statement on (``BEGIN IMMEDIATE``), which lets many processes append to one file.
"""

from __future__ import annotations

import contextlib
import datetime
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, Final

from sqlalchemy import (
    URL,
    Connection,
    Engine,
    create_engine,
    delete,
    event,
    func,
    insert,
    inspect,
    make_url,
    select,
    text,
)
from sqlalchemy.exc import ArgumentError, NoSuchModuleError, SQLAlchemyError

from ecdd.monitoring.monitoring_error import MonitoringError
from ecdd.monitoring.schema import FIELDS, Event
from ecdd.monitoring.tables import EVENTS, FORMAT, LOG, METADATA

_WAIT_SECONDS: Final = 60  # for a lock that other writers hold
_POSTGRES_LOCK: Final = 0x65636464  # any number that all writers share
_BATCH: Final = 200
_EPOCH: Final = datetime.datetime(1970, 1, 1, tzinfo=datetime.UTC)
_DRIVERS: Final = {"sqlite": "sqlite", "postgresql": "postgresql+psycopg"}


def minute_of(when: datetime.datetime) -> int:
    """Whole minutes since 1970-01-01 UTC."""
    return int((when - _EPOCH).total_seconds() // 60)


def time_of(minute: int) -> datetime.datetime:
    """Inverse of `minute_of`; `MonitoringError` where a log says a minute that no calendar has."""
    try:
        return _EPOCH + datetime.timedelta(minutes=minute)
    except (OverflowError, TypeError, ValueError):
        raise MonitoringError(f"the log says minute {str(minute)[:40]!r} since 1970; no calendar has it") from None


class EventLog:
    """An open log.

    Parameters
    ----------
    url : str
        ``sqlite:///file.db``, a path, or ``postgresql://user@host/name``.
    fields : sequence of str
        The contract's ``monitoring.logged_fields``; what is not listed is never written.
    create : bool
        Make the tables (and the SQLite file) where there are none.

    Raises
    ------
    MonitoringError
        Unreachable, damaged, of another program, of a newer format, or not there and not to be created.
    """

    def __init__(self, url: str, fields: Sequence[str] = FIELDS, *, create: bool = False) -> None:
        parsed = _parse(url)
        self.name = parsed.render_as_string(hide_password=True)
        self.fields = tuple(name for name in FIELDS if name in fields)
        self._pending: list[dict[str, Any]] = []
        file = parsed.database if parsed.drivername.startswith("sqlite") else None
        if file is not None and not create and not Path(file).is_file():
            msg = f"{self.name}: there is no log; ecdd predict --log makes one"
            raise MonitoringError(msg)
        self._engine = _engine(parsed)
        with self._explained("opened"):
            self._open(create)

    def _open(self, create: bool) -> None:
        if self._engine.dialect.name == "sqlite":
            with self._engine.connect() as connection:  # outside of a transaction, where alone it is allowed
                connection.connection.driver_connection.execute("PRAGMA journal_mode=WAL")  # type: ignore[union-attr]
        with self.writing() as connection:
            found = set(inspect(connection).get_table_names())
            if LOG.name not in found:
                foreign = found if self._engine.dialect.name == "sqlite" else found & set(METADATA.tables)
                if foreign:
                    msg = f"{self.name}: holds {', '.join(sorted(foreign)[:3])} and is no log; name another database"
                    raise MonitoringError(msg)
                if not create:
                    msg = f"{self.name}: there is no log in this database; ecdd predict --log makes one"
                    raise MonitoringError(msg)
                METADATA.create_all(connection)
                connection.execute(insert(LOG).values(format=FORMAT))
            self._refuse_other_format(connection)

    def _refuse_other_format(self, connection: Connection) -> None:
        stored = connection.execute(select(LOG.c.format)).scalars().all()
        if stored != [FORMAT]:
            what = "is of a newer program" if stored and max(stored) > FORMAT else "has no such version"
            msg = f"{self.name}: log format {stored} {what}, this program reads {FORMAT}; use the program that wrote it"
            raise MonitoringError(msg)
        there = inspect(connection)
        for table in METADATA.sorted_tables:
            columns = [c["name"] for c in there.get_columns(table.name)] if there.has_table(table.name) else []
            if columns != list(table.columns.keys()):
                msg = f"{self.name}: table {table.name} is not that of a log; name another database"
                raise MonitoringError(msg)

    @contextlib.contextmanager
    def writing(self) -> Iterator[Connection]:
        """Open a transaction that has the log to itself until its end; all of it is kept, or nothing."""
        with self._valued(), self._explained("written"), self._engine.begin() as connection:
            if connection.dialect.name == "postgresql":
                connection.execute(text("SELECT pg_advisory_xact_lock(:key)"), {"key": _POSTGRES_LOCK})
            yield connection

    @contextlib.contextmanager
    def reading(self) -> Iterator[Connection]:
        """Open a transaction that only reads, and sees one state of the log."""
        options = {"isolation_level": "REPEATABLE READ"} if self._engine.dialect.name == "postgresql" else {}
        with (
            self._valued(),
            self._explained("read"),
            self._engine.connect().execution_options(**options, ecdd_reads=True) as connection,
        ):
            yield connection

    @contextlib.contextmanager
    def _valued(self) -> Iterator[None]:
        """Say of a value that no event has what it is; SQLite keeps a text in a column of numbers."""
        try:
            yield
        except (ArithmeticError, LookupError, AttributeError, TypeError, ValueError) as error:
            raise MonitoringError(f"{self.name}: a value is none that an event can have ({error})") from None

    def append(self, events: Iterable[Event]) -> int:
        """Add events, a batch a transaction.

        Parameters
        ----------
        events : iterable of Event
            Any number.

        Returns
        -------
        int
            Events that are stored now, with those that an earlier failure had left waiting.

        Raises
        ------
        MonitoringError
            The batch could not be written; it waits and is tried again with the next call. See `waiting`.
        """
        written = 0
        for one in events:
            self._pending.append(event_row(one, self.fields))
            if len(self._pending) % _BATCH == 0:
                written += self.flush()
        return written + self.flush()

    def add(self, one: Event) -> None:
        """Put one event into the batch; written when the batch is full, or by `flush`.

        After a failure the events wait, and are tried again once a batch more has come.
        """
        self._pending.append(event_row(one, self.fields))
        if len(self._pending) % _BATCH == 0:
            self.flush()

    def flush(self) -> int:
        """Write what waits, in one transaction; returns how many events that were."""
        if not self._pending:
            return 0
        rows = list(self._pending)
        # no advisory lock: PostgreSQL lets writers append side by side, SQLite locks with BEGIN IMMEDIATE
        with self._explained("written"), self._engine.begin() as connection:
            connection.execute(insert(EVENTS), rows)
        del self._pending[: len(rows)]
        return len(rows)

    @property
    def waiting(self) -> int:
        """Events that are not stored yet."""
        return len(self._pending)

    def purge(self, retention_days: int, as_of: datetime.datetime) -> int:
        """Delete events older than the retention, and free their place.

        Parameters
        ----------
        retention_days : int
            The contract's ``monitoring.retention_days``.
        as_of : datetime
            UTC.

        Returns
        -------
        int
            Events deleted.
        """
        oldest = minute_of(as_of) - retention_days * 24 * 60
        with self.writing() as connection:
            count = connection.execute(delete(EVENTS).where(EVENTS.c.timestamp_minute < oldest)).rowcount
        if count and self._engine.dialect.name == "sqlite":
            # a deleted row's bytes stay in the file and in the write-ahead log until both are rewritten
            with self._explained("purged"), self._engine.connect() as connection:
                raw: Any = connection.connection.driver_connection
                raw.execute("VACUUM")
                raw.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        return int(count)

    def count(self) -> int:
        """Events in the log."""
        with self.reading() as connection:
            return int(connection.execute(select(func.count()).select_from(EVENTS)).scalar_one())

    def count_after(self, as_of: datetime.datetime) -> int:
        """Events more than a day later than ``as_of``: written by a clock that is ahead."""
        ahead = EVENTS.c.timestamp_minute > minute_of(as_of) + 24 * 60
        with self.reading() as connection:
            return int(connection.execute(select(func.count()).where(ahead)).scalar_one())

    def close(self) -> None:
        """Close the connections; what still waits is not written."""
        self._engine.dispose()

    def __enter__(self) -> EventLog:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    @contextlib.contextmanager
    def _explained(self, done: str) -> Iterator[None]:
        """Turn an error of the database into one line without the rows that it would quote."""
        try:
            yield
        except SQLAlchemyError as error:
            cause = str(getattr(error, "orig", None) or type(error).__name__).strip().splitlines()[0]
            waits = f"; {len(self._pending)} events wait and are not stored" if self._pending else ""
            msg = f"{self.name}: cannot be {done}: {_advice(cause)}{waits}"
            raise MonitoringError(msg) from None


def event_row(one: Event, fields: Sequence[str]) -> dict[str, Any]:
    """Values of an event by column; None for a field that the contract does not log."""
    values: dict[str, Any] = {name: getattr(one, name) for name in FIELDS}
    values["reason_codes"] = " ".join(str(code) for code in one.reason_codes)
    values["timestamp_minute"] = minute_of(one.timestamp_minute)
    return {name: values[name] if name in fields else None for name in FIELDS}


def _parse(url: str) -> URL:
    """Read a URL; a plain path is a SQLite file."""
    try:
        parsed = make_url(url if "://" in url else f"sqlite:///{url}")
    except ArgumentError:
        msg = "the log's URL cannot be read; write sqlite:///file.db or postgresql://user@host/name"
        raise MonitoringError(msg) from None
    family = parsed.get_backend_name()
    if family not in _DRIVERS or (family == "sqlite" and parsed.database in (None, "", ":memory:")):
        msg = f"{parsed.render_as_string(hide_password=True)}: give sqlite:///file.db or postgresql://user@host/name"
        raise MonitoringError(msg)
    return parsed.set(drivername=_DRIVERS[family])


def _engine(url: URL) -> Engine:
    sqlite = url.get_backend_name() == "sqlite"
    arguments = {"timeout": _WAIT_SECONDS} if sqlite else {"connect_timeout": 10}
    try:
        engine = create_engine(url, connect_args=arguments)
    except NoSuchModuleError as error:
        raise MonitoringError(str(error)) from None
    if sqlite:
        event.listen(engine, "connect", _set_up_sqlite)
        event.listen(engine, "begin", _begin_sqlite)
    return engine


def _set_up_sqlite(connection: Any, _record: Any) -> None:  # noqa: ANN401 - the driver's own connection
    connection.isolation_level = None  # the driver would begin transactions of its own, later than we need
    connection.execute("PRAGMA synchronous=FULL")  # what is committed survives a power cut too
    connection.execute("PRAGMA secure_delete=ON")


def _begin_sqlite(connection: Connection) -> None:
    reads = connection.get_execution_options().get("ecdd_reads", False)
    connection.exec_driver_sql("BEGIN" if reads else "BEGIN IMMEDIATE")


_ADVICE: Final = (
    ("not a database", "it is no SQLite database; name another file"),
    ("malformed", "the database is damaged; restore a copy, or move it away and begin a new log"),
    ("full", "the disk is full; free space, or purge"),
    ("I/O error", "the disk reports an error; free space or check it"),
    ("locked", "another process has held it for a minute; try again"),
    ("unable to open", "its folder is missing or may not be written"),
    ("readonly", "it may not be written; check its owner and mode"),
    ("password", "the server refused the password"),
    ("does not exist", "the server does not know it"),
    ("connection", "the server cannot be reached; check host, port and whether it runs"),
)


def _advice(cause: str) -> str:
    return next((f"{cause} ({what})" for word, what in _ADVICE if word in cause), cause)
