"""Connections are taken as they come, and wait where this process may open no more files."""

import asyncio
import logging
import os
import resource
import socket

import pytest

from ferryman.serving.sockets.listening import Accepting, listen


def test_without_files_connections_wait_and_nobody_spins(caplog: pytest.LogCaptureFixture) -> None:
    taken: list[socket.socket] = []

    async def run() -> None:
        with listen("127.0.0.1", 0) as listener, socket.socket() as client:
            accepting = Accepting(listener, taken.append)
            soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
            free = os.dup(0)
            os.close(free)
            resource.setrlimit(resource.RLIMIT_NOFILE, (free, hard))
            try:
                client.connect(listener.getsockname())
                await asyncio.sleep(0.5)
                assert taken == []
            finally:
                resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
            async with asyncio.timeout(5):
                while not taken:
                    await asyncio.sleep(0.01)
            accepting.stop()
            taken[0].close()

    with caplog.at_level(logging.WARNING):
        asyncio.run(run())
    assert 1 <= len(caplog.records) <= 4
    assert "Too many open files" in caplog.text


def test_what_is_stopped_while_it_waits_is_not_begun_again() -> None:
    async def run() -> None:
        with listen("127.0.0.1", 0) as listener, socket.socket() as client:
            accepting = Accepting(listener, lambda _: pytest.fail("it was stopped"))
            soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
            free = os.dup(0)
            os.close(free)
            resource.setrlimit(resource.RLIMIT_NOFILE, (free, hard))
            try:
                client.connect(listener.getsockname())
                await asyncio.sleep(0.05)
                accepting.stop()
            finally:
                resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
            await asyncio.sleep(0.3)

    asyncio.run(run())
