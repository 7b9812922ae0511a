"""The chip model of compiled simulations, ``sdram_device.h``, beside the Python model, step by step."""

import ctypes
import subprocess
from pathlib import Path

import spikeloom.simulators.sdram as simulated
from spikeloom.sim.sdram.device import SdramDevice, SdramViolation
from spikeloom.simulators.sdram import chip_numbers

_SOURCE = """
#include <cstring>

#include "sdram_device.h"

extern "C" {
SdramDevice *create(const int64_t *numbers) {
    SdramRules rules;
    memcpy(&rules, numbers, sizeof rules);
    return new SdramDevice(rules);
}
void destroy(SdramDevice *device) { delete device; }
int step(SdramDevice *device, uint32_t command, uint32_t bank, uint32_t address, uint32_t data, uint32_t mask,
         int driven) {
    return device->step({command, bank, address, data, mask, driven != 0});
}
int64_t driven(const SdramDevice *device) { return device->driving ? static_cast<int64_t>(device->word) : -1; }
int64_t edge(const SdramDevice *device) { return device->edge; }
int64_t moved(const SdramDevice *device) { return device->words_moved; }
int64_t count(const SdramDevice *device, int command) { return device->counts[command]; }
int initialised(const SdramDevice *device) { return device->initialised; }
const char *rule(const SdramDevice *device) { return device->rule.c_str(); }
const char *text(const SdramDevice *device) { return device->text.c_str(); }
uint32_t read_word(const SdramDevice *device, int64_t bank, int64_t row, int64_t column) {
    return device->read(bank, row, column);
}
}
"""


def compile_chip(folder: Path) -> ctypes.CDLL:
    """Compile the model alone, without a design, into ``folder``."""
    source, library = folder / "chip.cc", folder / "chip.so"
    source.write_text(_SOURCE)
    beside = Path(simulated.__file__).parent
    command = ["g++", "-std=c++17", "-Wall", "-Wextra", "-Werror", "-O1", "-fPIC", "-shared", f"-I{beside}"]
    subprocess.run([*command, str(source), "-o", str(library)], check=True)
    loaded = ctypes.CDLL(str(library))
    handle, number, word, text = ctypes.c_void_p, ctypes.c_int64, ctypes.c_uint32, ctypes.c_char_p
    for name, result, arguments in (
        ("create", handle, (handle,)),
        ("destroy", None, (handle,)),
        ("step", ctypes.c_int, (handle, *[word] * 5, ctypes.c_int)),
        ("driven", number, (handle,)),
        ("edge", number, (handle,)),
        ("moved", number, (handle,)),
        ("count", number, (handle, ctypes.c_int)),
        ("initialised", ctypes.c_int, (handle,)),
        ("rule", text, (handle,)),
        ("text", text, (handle,)),
        ("read_word", word, (handle, *[number] * 3)),
    ):
        function = getattr(loaded, name)
        function.restype, function.argtypes = result, arguments
    return loaded


class PairedChips(SdramDevice):
    """Both models with the same pins: each step must give the same word or the same violation in both."""

    def __init__(self, library, chip, timing):
        super().__init__(chip, timing)
        self._library = library
        numbers = chip_numbers(chip, timing)
        self._handle = library.create((ctypes.c_int64 * len(numbers))(*numbers))
        self.moved = 0

    def close(self):
        self._library.destroy(self._handle)

    def step(self, pins):
        refused = word = None
        try:
            word = super().step(pins)
        except SdramViolation as violation:
            refused = violation
        data = 0 if pins.data is None else pins.data
        done = self._library.step(
            self._handle, pins.command, pins.bank, pins.address, data, pins.mask, pins.data is not None
        )
        if refused is not None:
            rule, text = (getattr(self._library, name)(self._handle).decode() for name in ("rule", "text"))
            assert not done, f"the compiled model must refuse {refused}"
            assert f"{rule} at edge {self._library.edge(self._handle)}: {text}" == str(refused)
            raise refused
        assert done, f"the compiled model must accept {pins} at edge {self.edges}"
        driven = self._library.driven(self._handle)
        assert (None if driven < 0 else driven) == word
        assert self._library.edge(self._handle) == self.edges
        assert bool(self._library.initialised(self._handle)) == self.initialised
        return word

    def compare_contents(self):
        """Compare every word that has been written, and the numbers of commands."""
        for place, word in self.words.items():
            assert self._library.read_word(self._handle, *place) == word
        for command, count in self.counts.items():
            assert self._library.count(self._handle, command) == count
        self.moved = self._library.moved(self._handle)
