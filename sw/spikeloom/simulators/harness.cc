// Clock and ports of a compiled design: the C++ counterpart of `Harness`, the same for every design.
//
// A Simulator acts as the host bridge. It writes the configuration port, sends the packets of a step once all sinks
// have acknowledged the step before the previous one, acknowledges a step once it has a TICK from each source, and
// records the output. It checks every rule of elastic time that is visible at the ports. Order within a cycle: drive
// the inputs, evaluate with the clock low, sample the outputs, raise the clock.
//
// A design with SDRAM has a second clock. Its edges lie between those of the first at the ratio of the two periods; the
// first edge is half a unit of time late, so that no two edges ever coincide.

#include <cinttypes>
#include <cstdint>
#include <cstdio>
#include <cstring>
#include <map>
#include <string>
#include <vector>

#include "Vharness.h"
#include "verilated.h"
#include "verilated_syms.h"
#ifdef WITH_SDRAM
#include <deque>
#include <memory>

#include "sdram_device.h"
#endif

#ifdef WRITE_PROFILE
extern "C" void __gcov_dump();  // of libgcov: writes the profile once, and not again at the end of the process
#endif

namespace {

enum Kind : uint32_t { SPIKE = 0, TICK = 1, ACK = 2, MEMBRANE = 3, NOTHING = 4 };
const char *const KINDS[] = {"SPIKE", "TICK", "ACK", "MEMBRANE"};

// A packet of the output, in the layout of a NumPy type in compiled.py. In a TICK, `axon` is 1 if it ends a sample.
struct Record {
    int64_t step;
    uint32_t kind;
    uint32_t axon;
    int32_t value;
    uint32_t unused;
};

struct Memory {
    const uint8_t *data;
    int64_t depth;
    int64_t width;
    int64_t entry;  // bytes per word in the simulator
};

// Uniformly distributed bits from a seed: xorshift64* (Vigna 2016, arXiv 1402.6246).
struct Random {
    uint64_t state = 1;
    uint32_t next() {
        state ^= state >> 12;
        state ^= state << 25;
        state ^= state >> 27;
        return static_cast<uint32_t>((state * UINT64_C(2685821657736338717)) >> 32);
    }
    bool chance(uint64_t threshold) { return threshold && next() < threshold; }  // threshold: probability times 2^32
};

class Simulator {
public:
    Simulator(bool random_start, int seed) : top{begin(random_start, seed)} {
        // Ports may start with random bits, too.
        top.clk = top.reset = top.i_valid = top.o_ready = top.configuration_write_enable = 0;
        top.i_kind = top.i_parity = top.i_last = top.i_axon = top.i_value = top.i_destinations = 0;
        top.configuration_tile = top.configuration_memory = top.configuration_plane = top.configuration_index = 0;
        begin_session();
        find_memories();
    }

    void begin_session() {
#ifdef WITH_SDRAM
        top.sdram_rst = 1;
#endif
        for (int cycle = 0; cycle < 4; ++cycle) {
            top.rst = cycle < 3;
            clock();
        }
#ifdef WITH_SDRAM
        top.sdram_rst = !memory;
#endif
    }

    // Power up a chip, and the design with it. The periods of the two clocks have any unit.
    bool connect_sdram(const int64_t *rules, int64_t read_delay, int64_t core_period, int64_t memory_period) {
#ifdef WITH_SDRAM
        SdramRules given;
        static_assert(sizeof given == 16 * sizeof(int64_t), "as chip_numbers() in sdram.py");
        memcpy(&given, rules, sizeof given);
        memory = std::make_unique<SdramDevice>(given);
        on_board.assign(read_delay, 0);
        period = 2 * core_period;
        memory_step = 2 * memory_period;
        now = 0;
        next_edge = 1;
        begin_session();
        return true;
#else
        (void)rules, (void)read_delay, (void)core_period, (void)memory_period;
        return fail("the design has no SDRAM");
#endif
    }

    // Cycles of the memory, and words moved over its data pins.
    void sdram_counts(int64_t *to) const {
        to[0] = to[1] = 0;
#ifdef WITH_SDRAM
        if (memory) {
            to[0] = memory->edge;
            to[1] = memory->words_moved;
        }
#endif
    }

    // Write words of `planes` bytes, all bytes of a word before the next word, as an SDRAM needs them.
    void write_words(uint32_t tile, uint32_t number, const uint8_t *data, int64_t count, int64_t planes) {
        top.configuration_tile = tile;
        top.configuration_memory = number;
        top.configuration_write_enable = 1;
        for (int64_t place = 0; place < count; ++place) {
            top.configuration_index = place;
            for (int64_t plane = 0; plane < planes; ++plane) {
                top.configuration_plane = plane;
                top.configuration_write_data = *data++;
                clock();
            }
        }
        top.configuration_write_enable = 0;
        for (int64_t cycle = 0; cycle < latency; ++cycle) clock();
    }

    ~Simulator() { top.final(); }

    // Configuration.

    void write(uint32_t tile, uint32_t memory, uint32_t plane, uint32_t first, const uint8_t *data, int64_t count) {
        top.configuration_tile = tile;
        top.configuration_memory = memory;
        top.configuration_plane = plane;
        top.configuration_write_enable = 1;
        for (int64_t place = 0; place < count; ++place) {
            top.configuration_index = first + place;
            top.configuration_write_data = data[place];
            clock();
        }
        top.configuration_write_enable = 0;
        for (int64_t cycle = 0; cycle < latency; ++cycle) clock();
    }

    void read(uint32_t tile, uint32_t memory, uint32_t first, uint8_t *data, int64_t count) {
        top.configuration_tile = tile;
        top.configuration_memory = memory;
        for (int64_t place = 0; place < count; ++place) {
            top.configuration_index = first + place;
            for (int64_t cycle = 0; cycle < latency; ++cycle) clock();
            data[place] = top.configuration_read_data;
        }
    }

    // Input.

    void feed(int64_t samples, int64_t steps, const int64_t *counts, const uint32_t *axons, const int32_t *values) {
        events.erase(events.begin(), events.begin() + next_event);
        next_event = 0;
        const int64_t from = static_cast<int64_t>(events.size());
        int64_t total = 0;
        for (int64_t step = 0; step < samples * steps; ++step) {
            total += counts[step];
            ends.push_back({counts[step], step % steps == steps - 1, step % steps == 0});
        }
        events.resize(from + total);
        for (int64_t event = 0; event < total; ++event) events[from + event] = {axons[event], values[event]};
    }

    // Run the clock until `target` steps have ended.
    bool advance(int64_t target) {
        quiet = 0;
        while (begun < target || finished < target)
            if (!cycle()) return false;
        return true;
    }

    // Send the outstanding packets to the design; afterwards it must send nothing more.
    bool finish(int64_t cycles_of_silence) {
        quiet = 0;
        while (answered < begun || offered != NOTHING)
            if (!cycle()) return false;
        const size_t before = records.size();
        const int64_t acknowledged = finished;
        for (int64_t count = 0; count < cycles_of_silence; ++count)
            if (!cycle()) return false;
        if (records.size() != before || finished != acknowledged) return fail("the design must be silent after a run");
        top.o_ready = ready = 0;
        return true;
    }

    bool inspect(const char *name, int64_t tile) {
        const auto found = memories.find(name);
        if (found == memories.end()) return false;
        inspected.push_back({found->second, tile, {}});
        return true;
    }

    struct Step {
        int64_t events;
        bool last, first;
    };
    struct Event {
        uint32_t axon;
        int32_t value;
    };
    struct Inspected {
        Memory memory;
        int64_t tile;  // tile that counts the steps, or -1: steps acknowledged to the host
        std::vector<uint8_t> words;  // contents after each step
    };

    VerilatedContext context;
    Vharness top;
    std::vector<Record> records;
    std::vector<int64_t> starts, stops;  // per sample: cycle of its first input packet, and of its last TICK or ACK
    std::map<std::string, Memory> memories;
    std::string memory_names;
    std::vector<Inspected> inspected;
    std::string error;
    int64_t cycles = 0;
    int64_t counts[4] = {};  // cycles with stalled input, with stalled output; packets sent at the limit
    int64_t credit = 2;
    int64_t latency = 1;  // read latency of the configuration port in cycles
    int64_t sources = 1, sinks = 1;  // tiles that send TICKs to the host; tiles that acknowledge the host's TICKs
    uint64_t spike_destinations = 0, tick_destinations = 0, ack_destinations = 0;
    int64_t timeout = 1000000;
    uint64_t idle = 0, stall = 0;
    Random random;

private:
    VerilatedContext *begin(bool random_start, int seed) {
        context.randReset(random_start ? 2 : 0);
        context.randSeed(seed);
        return &context;
    }

    // A cycle without packets. The falling edge must be evaluated too, otherwise Verilator sees no rising edge.
    void clock() {
        clock_memory();
        top.eval();
        top.clk = 1;
        top.eval();
        top.clk = 0;
        ++cycles;
    }

    bool fail(const std::string &sentence) {
        error = sentence;
        return false;
    }

    // The edges of the memory's clock before the next one of the design. False after a violation of the chip's rules.
    bool clock_memory() {
#ifdef WITH_SDRAM
        if (!memory || !memory->rule.empty()) return !memory;
        bool is_high = false;
        for (now += period; next_edge < now; next_edge += memory_step) {
            // The pins are registers of this clock, so their levels before the edge are those after the last one.
            const SdramPins pins{top.sdram_command, top.sdram_bank, top.sdram_address,
                                 top.sdram_data_o,  top.sdram_mask, top.sdram_data_enable != 0};
            if (!memory->step(pins)) {
                fail("the chip refuses " + memory->rule + " at edge " + std::to_string(memory->edge) + ": " +
                     memory->text);
                return false;
            }
            // The falling edge before the first one has been evaluated with the clock of the design.
            if (is_high) top.eval();
            top.sdram_clk = 1;
            top.eval();
            top.sdram_clk = 0;
            is_high = true;
            // Data pins that are not driven change at random.
            on_board.push_back(memory->driving ? memory->word : noise.next() & ((UINT64_C(1) << memory->rules.width) - 1));
            top.sdram_data_i = on_board.front();
            on_board.pop_front();
        }
#endif
        return true;
    }

    // One clock cycle with traffic at all ports.
    bool cycle() {
        if (!clock_memory()) return false;
        if (offered == NOTHING && !random.chance(idle)) offer();
        top.i_valid = offered != NOTHING;
        top.o_ready = ready = !random.chance(stall);
        top.eval();
        const bool taken = offered != NOTHING && top.i_ready;
        counts[0] += offered != NOTHING && !taken;
        bool acknowledged = false;
        if (top.o_valid) {
            const Record packet{0, top.o_kind, top.o_axon, static_cast<int32_t>(top.o_value), top.o_parity};
            if (holding && memcmp(&packet, &held, sizeof packet)) return fail("a packet must stay until it is taken");
            holding = !ready;
            held = packet;
            counts[1] += holding;
            if (ready) {
                if (!take(packet)) return false;
                acknowledged = packet.kind == ACK;
                quiet = 0;
            }
        } else if (holding) {
            return fail("a packet must stay until it is taken");
        }
        if (taken) {
            sent();
            quiet = 0;
        }
        const uint64_t steps_done = top.steps_done;
        top.clk = 1;
        top.eval();
        top.clk = 0;
        ++cycles;
        if (acknowledged || steps_done) keep_memories(acknowledged, steps_done);
        if (++quiet > timeout)
            return fail("the design must end a run of " + std::to_string(counted()) + " steps, not hang in step " +
                        std::to_string(finished) + " with nothing in or out for " + std::to_string(timeout) + " cycles");
        return true;
    }

    int64_t counted() const { return static_cast<int64_t>(ends.size()); }

    // The next packet that may be sent, if any.
    void offer() {
        const bool allowed = step_in < counted() && step_in < finished + credit;
        if (answered < begun && !(allowed && random.chance(idle))) {
            offered = ACK;
            top.i_parity = answered & 1;
            top.i_last = 0;
            top.i_destinations = ack_destinations;
        } else if (allowed) {
            const Step &step = ends[step_in];
            offered = events_in < step.events ? SPIKE : TICK;
            top.i_parity = step_in & 1;
            top.i_last = offered == TICK && step.last;
            top.i_destinations = offered == TICK ? tick_destinations : spike_destinations;
            if (offered == SPIKE) {
                top.i_axon = events[next_event].axon;
                top.i_value = events[next_event].value;
            }
            counts[2] += step_in == finished + 1;
        } else {
            return;
        }
        top.i_kind = offered;
    }

    void sent() {
        if (offered == ACK) {
            ++answered;
        } else {
            if (ends[step_in].first && static_cast<int64_t>(starts.size()) == samples_in) starts.push_back(cycles);
            if (offered == SPIKE) {
                ++events_in;
                ++next_event;
            } else {
                samples_in += ends[step_in].last;
                events_in = 0;
                ++step_in;
            }
        }
        offered = NOTHING;
    }

    bool take(const Record &packet) {
        // With several tiles, one may be a step ahead of another.
        const int64_t waited = packet.kind == ACK ? finished : begun;
        const bool several = (packet.kind == ACK ? sinks : sources) > 1;
        const int64_t step = waited + (several && packet.unused != (waited & 1));
        const auto wrong = [&](const char *rule) {
            return fail(std::string(KINDS[packet.kind]) + " number " + std::to_string(step) + " " + rule);
        };
        if (packet.unused != (step & 1)) return wrong("must have the parity of its step");
        if (step >= step_in) return wrong("must wait for the TICK of its step");
        if (packet.kind == ACK) {
            if (++acks[step & 1] > sinks) return wrong("must come once from each sink");
            if (acks[finished & 1] == sinks) acks[finished++ & 1] = 0;
        } else {
            if (answered < step - 1) return wrong("must wait for the ACK of the step before the previous one");
            if (packet.kind == TICK) {
                if (top.o_last != ends[step].last) return wrong("must end a sample where the input did");
                if (++ticks[step & 1] > sources) return wrong("must come once from each source");
                if (ticks[begun & 1] == sources) {
                    records.push_back({begun, TICK, top.o_last, 0, 0});
                    ticks[begun++ & 1] = 0;
                }
            } else {
                records.push_back({step, packet.kind, packet.axon, packet.value, 0});
            }
        }
        const int64_t now = finished < begun ? finished : begun;
        for (; ended < now; ++ended)
            if (ends[ended].last) stops.push_back(cycles);
        return true;
    }

    // Memories by their path: only memories are public variables (build.py requests nothing else).
    void find_memories() {
        for (const auto &scope : *context.scopeNameMap()) {
            const VerilatedVarNameMap *variables = scope.second->varsp();
            if (!variables) continue;
            for (const auto &variable : *variables) {
                const VerilatedVar &found = variable.second;
                if (found.udims() != 1) continue;
                const int64_t depth = found.elements(1), width = found.elements(0) ? found.elements(0) : 1;
                const std::string name = std::string(scope.first) + "." + variable.first;
                memories[name] = {static_cast<const uint8_t *>(found.datap()), depth, width,
                                  static_cast<int64_t>(found.entSize())};
                memory_names += name + "\n";
            }
        }
    }

    void keep_memories(bool acknowledged, uint64_t steps_done) {
        for (Inspected &each : inspected)
            if (each.tile < 0 ? acknowledged : (steps_done >> each.tile & 1) != 0)
                each.words.insert(each.words.end(), each.memory.data, each.memory.data + each.memory.depth * each.memory.entry);
    }

    std::vector<Step> ends;  // one entry per step fed
    std::vector<Event> events;  // events fed and not yet sent, oldest first
    int64_t next_event = 0, step_in = 0, events_in = 0, samples_in = 0;
    int64_t begun = 0, finished = 0, answered = 0;  // steps with all TICKs out, with all ACKs out, with ACKs in
    int64_t ended = 0;  // minimum of the first two
    int64_t ticks[2] = {}, acks[2] = {};  // per parity, of the step that is incomplete
    int64_t quiet = 0;
    Kind offered = NOTHING;
    bool ready = false, holding = false;
    Record held{};
#ifdef WITH_SDRAM
    std::unique_ptr<SdramDevice> memory;
    std::deque<uint32_t> on_board;  // words on their way from the chip
    Random noise;
    int64_t period = 0, memory_step = 0;  // of the clocks of the design and of the memory, in half units of time
    int64_t now = 0, next_edge = 0;  // of the design's last edge, and the memory's next
#endif
};

}  // namespace

// Functions called by compiled.py. A function that can fail returns 0 and sets `error`.
extern "C" {

Simulator *create(int random_start, int seed) { return new Simulator(random_start, seed); }

void destroy(Simulator *simulator) { delete simulator; }

#ifdef WRITE_PROFILE
void write_profile() { __gcov_dump(); }
#endif

void settings(Simulator *simulator, int64_t credit, int64_t timeout, double idle, double stall, uint64_t seed) {
    simulator->credit = credit;
    simulator->timeout = timeout;
    simulator->idle = static_cast<uint64_t>(idle * 4294967296.0);
    simulator->stall = static_cast<uint64_t>(stall * 4294967296.0);
    simulator->random.state = seed;
}

void relations(Simulator *simulator, int64_t latency, int64_t sources, int64_t sinks, uint64_t spike_destinations,
               uint64_t tick_destinations, uint64_t ack_destinations) {
    simulator->latency = latency;
    simulator->sources = sources;
    simulator->sinks = sinks;
    simulator->spike_destinations = spike_destinations;
    simulator->tick_destinations = tick_destinations;
    simulator->ack_destinations = ack_destinations;
}

int connect_sdram(Simulator *simulator, const int64_t *rules, int64_t read_delay, int64_t core_period,
                  int64_t memory_period) {
    return simulator->connect_sdram(rules, read_delay, core_period, memory_period);
}

void sdram_counts(const Simulator *simulator, int64_t *to) { simulator->sdram_counts(to); }

void write_words(Simulator *simulator, uint32_t tile, uint32_t memory, const uint8_t *data, int64_t count,
                 int64_t planes) {
    simulator->write_words(tile, memory, data, count, planes);
}

void write_bytes(Simulator *simulator, uint32_t tile, uint32_t memory, uint32_t plane, uint32_t first,
                 const uint8_t *data, int64_t count) {
    simulator->write(tile, memory, plane, first, data, count);
}

void read_bytes(Simulator *simulator, uint32_t tile, uint32_t memory, uint32_t first, uint8_t *data, int64_t count) {
    simulator->read(tile, memory, first, data, count);
}

void feed(Simulator *simulator, int64_t samples, int64_t steps, const int64_t *counts, const uint32_t *axons,
          const int32_t *values) {
    simulator->feed(samples, steps, counts, axons, values);
}

int advance(Simulator *simulator, int64_t target) { return simulator->advance(target); }

int finish(Simulator *simulator, int64_t cycles_of_silence) { return simulator->finish(cycles_of_silence); }

const char *error(const Simulator *simulator) { return simulator->error.c_str(); }

int64_t record_count(const Simulator *simulator) { return static_cast<int64_t>(simulator->records.size()); }

// Hand over the records.
void take_records(Simulator *simulator, Record *to) {
    memcpy(to, simulator->records.data(), simulator->records.size() * sizeof(Record));
    simulator->records.clear();
}

int64_t cycles(const Simulator *simulator) { return simulator->cycles; }

int64_t waits(const Simulator *simulator, int kind) { return simulator->counts[kind]; }

int64_t samples_done(const Simulator *simulator) { return static_cast<int64_t>(simulator->stops.size()); }

void sample_times(const Simulator *simulator, int64_t *starts, int64_t *stops) {
    memcpy(starts, simulator->starts.data(), simulator->stops.size() * sizeof(int64_t));
    memcpy(stops, simulator->stops.data(), simulator->stops.size() * sizeof(int64_t));
}

const char *memory_names(const Simulator *simulator) { return simulator->memory_names.c_str(); }

// Index among the inspected memories, or -1; its words are recorded after each step of the tile.
int64_t inspect(Simulator *simulator, const char *name, int64_t tile, int64_t *depth, int64_t *width, int64_t *entry) {
    if (!simulator->inspect(name, tile)) return -1;
    const Memory &memory = simulator->inspected.back().memory;
    *depth = memory.depth;
    *width = memory.width;
    *entry = memory.entry;
    return static_cast<int64_t>(simulator->inspected.size()) - 1;
}

int64_t kept_count(const Simulator *simulator, int64_t number) {
    return static_cast<int64_t>(simulator->inspected[number].words.size());
}

void take_kept(Simulator *simulator, int64_t number, uint8_t *to) {
    std::vector<uint8_t> &words = simulator->inspected[number].words;
    memcpy(to, words.data(), words.size());
    words.clear();
}

}  // extern "C"
