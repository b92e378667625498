"""A program of this machine that answers on a port of its own, for as long as a test needs it."""

import subprocess
import time
from abc import ABC, abstractmethod
from pathlib import Path
from typing import Self

import httpx

from ferryman.runtime.ports import free_ports

_START_SECONDS = 60.0


class WebProgram(ABC):
    """Started when entered, ready within the block, killed with it; its log lies in its folder."""

    def __init__(self, folder: Path, name: str) -> None:
        self._folder, self._name = folder, name
        [self._port] = free_ports(1)

    @abstractmethod
    def command(self) -> list[str]:
        """What starts it; its configuration is written here, into the folder, which exists."""

    def __enter__(self) -> Self:
        self._folder.mkdir(parents=True, exist_ok=True)
        command, told = self.command(), self._folder / f"{self._name}.log"
        with told.open("wb") as log:
            self._process = subprocess.Popen(
                command, stdin=subprocess.DEVNULL, stdout=log, stderr=log
            )
        deadline = time.monotonic() + _START_SECONDS
        while not self._ready():
            if self._process.poll() is not None or time.monotonic() > deadline:
                self.__exit__()
                raise RuntimeError(told.read_text()[-2000:])
            time.sleep(0.1)
        return self

    def __exit__(self, *_: object) -> None:
        self._process.kill()
        self._process.wait()

    @property
    def address(self) -> str:
        """Its host and port."""
        return f"127.0.0.1:{self._port}"

    @property
    def url(self) -> str:
        """Its address, as clients write it."""
        return f"http://{self.address}"

    def _ready(self) -> bool:
        try:
            with httpx.Client(trust_env=False, timeout=2) as client:
                return client.get(f"{self.url}/-/ready").status_code == 200
        except httpx.TransportError:
            return False
