// Model of an SDRAM chip for compiled simulations: the counterpart of `SdramDevice` (spikeloom/sim/sdram/device.py),
// which describes the rules. tests/sw/simulators/test_sdram.py sends both the same pins and compares the words that they
// drive, their contents, and the rule, edge and text of every violation.

#ifndef SPIKELOOM_SDRAM_DEVICE_H
#define SPIKELOOM_SDRAM_DEVICE_H

#include <cinttypes>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <memory>
#include <string>

// Geometry of a chip and its rules in cycles, in the order of `chip_numbers` in sdram.py.
struct SdramRules {
    int64_t width, bank_bits, row_bits, column_bits;
    int64_t rcd, rp, ras, rc, rrd, rfc, wr, mrd, ras_limit, refresh_interval, power_up, cas_latency;
};

// The pins at a clock edge; `driven` if the controller drives `data`.
struct SdramPins {
    uint32_t command, bank, address, data, mask;
    bool driven;
};

class SdramDevice {
public:
    explicit SdramDevice(const SdramRules &given)
        : rules(given), columns(INT64_C(1) << given.column_bits), rows(INT64_C(1) << given.row_bits) {
        // Zeros that take no memory until they are written: most of a chip is never touched.
        contents.reset(static_cast<uint32_t *>(calloc(static_cast<size_t>(columns * rows << rules.bank_bits), 4)));
    }

    // One clock edge. False after a violation; the model must not be used any more then. `driving` says whether the chip
    // drives `word` until the next edge.
    bool step(const SdramPins &pins) {
        const uint32_t command = pins.command < 8 ? pins.command : NOP;
        ++counts[command];
        if (!check_limits() || (command != NOP && !execute(command, pins)) || !transfer(pins)) return false;
        ++edge;
        const Driven &next = slot(edge);
        driving = next.edge == edge;
        if (driving) word = next.word & ~kept(mask);
        mask = pins.mask;
        return true;
    }

    uint32_t read(int64_t bank, int64_t row, int64_t column) const { return contents.get()[place(bank, row, column)]; }

    const SdramRules rules;
    bool initialised = false, driving = false;
    uint32_t word = 0;
    int64_t edge = 0;  // number of the next edge
    int64_t counts[8] = {};  // commands by number
    int64_t words_moved = 0;  // words read and written: cycles of the data pins
    std::string rule, text;  // of the violation

private:
    enum Command : uint32_t { LOAD_MODE, REFRESH, PRECHARGE, ACTIVATE, WRITE, READ, STOP, NOP };
    static constexpr const char *NAMES[] = {"LOAD_MODE", "REFRESH", "PRECHARGE", "ACTIVATE", "WRITE", "READ", "STOP"};
    static constexpr int64_t LONG_AGO = INT64_MIN / 2;
    static constexpr uint32_t AUTO_PRECHARGE = 1 << 10;
    static constexpr int64_t INITIAL_REFRESHES = 2;

    struct Bank {
        bool used = false;  // a row has been activated
        int64_t row = 0, activated = LONG_AGO, written = LONG_AGO;
        int64_t precharged = LONG_AGO;  // may lie ahead
    };
    struct Burst {
        bool busy = false, write = false, auto_precharge = false;
        int64_t bank = 0, row = 0, column = 0, done = 0;
    };
    struct Driven {
        int64_t edge = LONG_AGO;
        uint32_t word = 0;
    };
    struct Free {
        void operator()(uint32_t *memory) const { free(memory); }
    };

    static std::string text_of(int64_t number) { return std::to_string(number); }

    bool refuse(const char *name, const std::string &sentence) {
        rule = name;
        text = sentence;
        return false;
    }

    // Refuse a command that comes less than `cycles` after the edge `since`.
    bool late(const char *name, int64_t since, int64_t cycles, const std::string &what) {
        return refuse(name, what + " needs " + text_of(cycles) + " cycles, found " + text_of(edge - since));
    }
    bool too_early(int64_t since, int64_t cycles) const { return edge - since < cycles; }

    uint32_t kept(uint32_t bytes) const {
        uint32_t bits = 0;
        for (int64_t byte = 0; bytes && byte < rules.width / 8; ++byte)
            if (bytes >> byte & 1) bits |= UINT32_C(0xFF) << 8 * byte;
        return bits;
    }

    int64_t place(int64_t bank, int64_t row, int64_t column) const { return (bank * rows + row) * columns + column; }
    int banks_count() const { return 1 << rules.bank_bits; }
    Driven &slot(int64_t number) { return driven[number & 7]; }

    bool is_open(const Bank &bank) const {
        return bank.used && (bank.precharged <= bank.activated || edge < bank.precharged);
    }

    bool check_limits() {
        for (int number = 0; number < banks_count(); ++number) {
            const Bank &bank = banks[number];
            if (bank.used && edge - bank.activated > rules.ras_limit && bank.precharged <= bank.activated)
                return refuse("tRAS max", "bank " + text_of(number) + " is open for over " + text_of(rules.ras_limit) +
                                              " cycles");
        }
        if (initialised && edge - refreshed > rules.refresh_interval)
            return refuse("tREFI", "no REFRESH for over " + text_of(rules.refresh_interval) + " cycles");
        return true;
    }

    bool execute(uint32_t command, const SdramPins &pins) {
        if (edge < rules.power_up)
            return refuse("power-up",
                          "a command needs " + text_of(rules.power_up) + " cycles, found " + text_of(edge));
        if (too_early(refreshed, rules.rfc)) return late("tRFC", refreshed, rules.rfc, "a command after REFRESH");
        if (too_early(mode_set, rules.mrd)) return late("tMRD", mode_set, rules.mrd, "a command after LOAD MODE");
        if (!initialised && command >= ACTIVATE)
            return refuse("power-up", std::string(NAMES[command]) + " before the mode is set");
        switch (command) {
        case LOAD_MODE:
            return load_mode(pins);
        case REFRESH:
            if (!check_idle("REFRESH")) return false;
            refreshed = edge;
            ++refreshes;
            return true;
        case PRECHARGE:
            if (!(pins.address & AUTO_PRECHARGE)) return precharge(static_cast<int>(pins.bank));
            all_precharged = true;
            for (int number = 0; number < banks_count(); ++number)
                if (!precharge(number)) return false;
            return true;
        case ACTIVATE:
            return activate(pins);
        case STOP:
            return cut("STOP");
        default:
            return start_burst(command, pins);
        }
    }

    bool check_idle(const std::string &what) {
        if (!all_precharged) return refuse("power-up", what + " before all banks are precharged");
        for (int number = 0; number < banks_count(); ++number) {
            const Bank &bank = banks[number];
            if (is_open(bank)) return refuse("bank", what + " while bank " + text_of(number) + " is open");
            if (too_early(bank.precharged, rules.rp))
                return late("tRP", bank.precharged, rules.rp, what + " after the precharge of bank " + text_of(number));
        }
        return true;
    }

    bool load_mode(const SdramPins &pins) {
        if (!check_idle("LOAD MODE")) return false;
        if (refreshes < INITIAL_REFRESHES)
            return refuse("power-up", "the mode needs " + text_of(INITIAL_REFRESHES) + " earlier REFRESHes, found " +
                                          text_of(refreshes));
        const int64_t cas = pins.address >> 4 & 7, code = pins.address & 7;
        if (pins.bank || pins.address >> 7 || pins.address >> 3 & 1 || code > 3 || (cas != 2 && cas != 3)) {
            char value[16];
            snprintf(value, sizeof value, "%#" PRIx32, pins.address);
            return refuse("mode", std::string("the value ") + (pins.address ? value : "0x0") + " is not a supported mode");
        }
        if (cas < rules.cas_latency)
            return refuse("mode", "the CAS latency must be " + text_of(rules.cas_latency) + " at this clock, found " +
                                      text_of(cas));
        latency = cas;
        length = INT64_C(1) << code;
        mode_set = edge;
        initialised = true;
        return true;
    }

    bool activate(const SdramPins &pins) {
        Bank &bank = banks[pins.bank];
        const std::string number = text_of(pins.bank);
        if (is_open(bank)) return refuse("bank", "ACTIVATE of bank " + number + ", which is open");
        if (too_early(bank.precharged, rules.rp))
            return late("tRP", bank.precharged, rules.rp, "ACTIVATE after the precharge of bank " + number);
        if (too_early(bank.activated, rules.rc))
            return late("tRC", bank.activated, rules.rc, "ACTIVATE after ACTIVATE of bank " + number);
        for (int other = 0; other < banks_count(); ++other)
            if (&banks[other] != &bank && too_early(banks[other].activated, rules.rrd))
                return late("tRRD", banks[other].activated, rules.rrd, "ACTIVATE after ACTIVATE of another bank");
        bank.used = true;
        bank.row = pins.address & (rows - 1);
        bank.activated = edge;
        return true;
    }

    bool precharge(int number) {
        Bank &bank = banks[number];
        // The PRECHARGE of a closed bank, or of one whose auto precharge has begun, has no effect.
        if (!is_open(bank)) return true;
        if (bank.precharged > edge)
            return refuse("burst", "PRECHARGE of bank " + text_of(number) + " during a burst with auto precharge");
        const std::string what = "the precharge of bank " + text_of(number);
        if (too_early(bank.activated, rules.ras)) return late("tRAS", bank.activated, rules.ras, what);
        if (too_early(bank.written, rules.wr)) return late("tWR", bank.written, rules.wr, what);
        if (burst.busy && burst.bank == number && !cut("PRECHARGE")) return false;
        bank.precharged = edge;
        return true;
    }

    // End the burst in progress: a write at once, a read after its CAS latency.
    bool cut(const std::string &what) {
        if (burst.busy && burst.auto_precharge)
            return refuse("burst", what + " cuts off a burst with auto precharge");
        burst.busy = false;
        return true;
    }

    bool start_burst(uint32_t command, const SdramPins &pins) {
        const bool write = command == WRITE, automatic = pins.address & AUTO_PRECHARGE;
        Bank &bank = banks[pins.bank];
        const std::string name = NAMES[command], number = text_of(pins.bank);
        if (!is_open(bank)) return refuse("bank", name + " of bank " + number + ", which is closed");
        if (bank.precharged > bank.activated)
            return refuse("bank", name + " of bank " + number + " during its auto precharge");
        if (too_early(bank.activated, rules.rcd))
            return late("tRCD", bank.activated, rules.rcd, name + " after ACTIVATE of bank " + number);
        if (!cut(name)) return false;
        // Bit 10 selects auto precharge; column bits beyond it continue at address bit 11.
        const int64_t column = ((pins.address & (AUTO_PRECHARGE - 1)) | (pins.address >> 11) << 10) & (columns - 1);
        burst = {true, write, automatic, pins.bank, bank.row, column, 0};
        if (write && last_driven >= edge - 1)
            return refuse("contention",
                          "WRITE needs an edge without data after the word of edge " + text_of(last_driven));
        if (automatic) {
            const int64_t start = write ? edge + length - 1 + rules.wr : edge + length;
            if (start - bank.activated < rules.ras)
                return refuse("tRAS", "auto precharge needs " + text_of(rules.ras) + " cycles, found " +
                                          text_of(start - bank.activated));
            bank.precharged = start;
        }
        return true;
    }

    // The word of this edge.
    bool transfer(const SdramPins &pins) {
        if (pins.driven && slot(edge).edge == edge)
            return refuse("contention", "the controller drives a word that the chip drives too");
        if (!burst.busy) return true;
        if (burst.write && !pins.driven) return refuse("contention", "a word of a WRITE is not driven");
        const int64_t within = length - 1;
        const int64_t column = (burst.column & ~within) | ((burst.column + burst.done) & within);
        uint32_t &stored = contents.get()[place(burst.bank, burst.row, column)];
        if (burst.write) {
            const uint32_t keep = kept(pins.mask), all = rules.width < 32 ? (UINT32_C(1) << rules.width) - 1 : ~UINT32_C(0);
            stored = (stored & keep) | (pins.data & ~keep & all);
            banks[burst.bank].written = edge;
        } else {
            last_driven = edge + latency;
            slot(last_driven) = {last_driven, stored};
        }
        ++words_moved;
        burst.busy = ++burst.done < length;
        return true;
    }

    const int64_t columns, rows;
    std::unique_ptr<uint32_t, Free> contents;  // one entry per word of the chip
    Bank banks[4];
    Burst burst;
    Driven driven[8];  // words that the chip drives, by the lowest bits of the edge at which they are sampled
    int64_t last_driven = LONG_AGO;
    uint32_t mask = 0;  // that of the edge before
    int64_t refreshed = LONG_AGO, mode_set = LONG_AGO, refreshes = 0, latency = 0, length = 0;
    bool all_precharged = false;
};

#endif
