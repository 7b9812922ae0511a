// Random traffic for a compiled mesh, with accounting of every packet. Compiled by traffic.py, which also writes
// ports.h: TILES, SOURCE_BITS, NUMBER_BITS, PAYLOAD_BITS and `connect`.
//
// A payload holds the number of its source in the low SOURCE_BITS, and above it the serial number of the packet.
// Each source keeps its latest packets in a ring buffer, with the destinations that are still outstanding.

#include "Vmesh.h"
#include "verilated.h"

#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <deque>
#include <functional>
#include <string>
#include <vector>

// Ports of one tile, so that a loop can access ports with numbered names.
struct Ports {
    CData *in_valid, *in_ready, *out_valid, *out_ready;
    std::function<void(uint64_t)> offer; // payload in the low bits, destinations above
    std::function<uint64_t()> out_payload;
};

#include "ports.h"

constexpr uint32_t RING = 1u << NUMBER_BITS;
constexpr uint64_t DEADLOCK = 20000; // cycles without any delivery while something is due

static uint64_t state;

static uint64_t draw() { // xorshift64*, Vigna 2016, ACM Transactions on Mathematical Software 42(4)
    state ^= state >> 12;
    state ^= state << 25;
    state ^= state >> 27;
    return state * 0x2545F4914F6CDD1Dull;
}

static double uniform() { return (draw() >> 11) * 0x1p-53; }

static int any_tile() { return int((draw() >> 33) * TILES >> 31); }

struct Packet {
    uint64_t due = 0; // tiles that have not received it yet
    uint64_t sent_to = 0;
    uint64_t number = 0;
    uint64_t born = 0;
};

struct Source {
    std::vector<Packet> ring = std::vector<Packet>(RING);
    std::deque<uint64_t> born; // cycles in which the waiting packets were generated
    uint64_t number = 0;       // serial number of the offered packet
    uint64_t set = 0;
    bool offering = false;
    double idle = 0;
    uint64_t newest[TILES] = {}; // by sink: number of the last packet delivered plus one
};

static Source sources[TILES];
static double stall[TILES];
static uint64_t packets, copies, delivered, lost, duplicated, misrouted, reordered, cycles;
static double latency_sum;
static uint64_t latency_count;

// An entry of the ring is reused when its packet is so old that it counts as lost if it is still outstanding.
static void enter(Source &source, uint64_t born) {
    Packet &packet = source.ring[source.number % RING];
    lost += __builtin_popcountll(packet.due);
    packet = {source.set, source.set, source.number, born};
    copies += __builtin_popcountll(source.set);
    packets++;
    source.number++;
}

static void deliver(int sink, uint64_t payload, uint64_t measured_from) {
    delivered++;
    uint64_t from = payload & ((1u << SOURCE_BITS) - 1), low = payload >> SOURCE_BITS;
    if (from >= TILES) { misrouted++; return; }
    Source &source = sources[from];
    Packet &packet = source.ring[low % RING];
    uint64_t bit = 1ull << sink;
    if (!(packet.sent_to & bit)) { misrouted++; return; }
    if (!(packet.due & bit)) { duplicated++; return; }
    packet.due &= ~bit;
    if (packet.number + 1 <= source.newest[sink]) reordered++;
    source.newest[sink] = packet.number + 1;
    if (packet.born >= measured_from) { latency_sum += double(cycles - packet.born); latency_count++; }
}

static uint64_t random_set(double multicast) {
    if (uniform() >= multicast) return 1ull << any_tile();
    double density = uniform();
    if (density > 0.9) density = 1; // to all tiles, including itself
    uint64_t set = 0;
    for (int tile = 0; tile < TILES; tile++) set |= uint64_t(uniform() < density) << tile;
    return set;
}

// MODE check: `count` packets at saturation, pauses and stalls redrawn every 1024 cycles, until all is delivered.
// MODE load: `count` cycles in which each tile generates a packet with probability `rate` per cycle; sinks never stall.
int main(int argc, char **argv) {
    if (argc != 6) return 2;
    std::string mode = argv[1];
    uint64_t count = strtoull(argv[2], nullptr, 10);
    double rate = atof(argv[3]), multicast = atof(argv[4]);
    state = strtoull(argv[5], nullptr, 10) * 0x9E3779B97F4A7C15ull | 1;
    for (int n = 0; n < 20; n++) draw();
    bool check = mode == "check", deadlock = false;
    uint64_t warm = count / 5, last_delivery = 0, counted = 0;

    VerilatedContext context;
    Vmesh design(&context);
    Ports ports[TILES];
    connect(design, ports);
    design.rst = 0;
    while (true) {
        bool more = check ? packets < count : cycles < count;
        if (check && !more && delivered >= copies) break;
        if (!check && !more) break;
        if (check && cycles % 1024 == 0) {
            static const double choices[] = {0, 0, 0.1, 0.5, 0.9};
            for (int tile = 0; tile < TILES; tile++) {
                stall[tile] = choices[draw() % 5];
                sources[tile].idle = draw() % 4 ? 0 : uniform();
            }
        }
        for (int tile = 0; tile < TILES; tile++) {
            Source &source = sources[tile];
            if (!check && uniform() < rate) source.born.push_back(cycles);
            bool wants = check ? more && uniform() >= source.idle : !source.born.empty();
            if (!source.offering && wants) {
                source.offering = true;
                source.set = random_set(multicast);
                ports[tile].offer(tile | (source.number % RING) << SOURCE_BITS | source.set << PAYLOAD_BITS);
            }
            *ports[tile].in_valid = source.offering;
            *ports[tile].out_ready = !check || uniform() >= stall[tile];
        }
        design.clk = 0;
        design.eval();
        for (int tile = 0; tile < TILES; tile++) {
            Source &source = sources[tile];
            if (source.offering && *ports[tile].in_ready) {
                uint64_t born = cycles;
                if (!check) { born = source.born.front(); source.born.pop_front(); }
                enter(source, born);
                source.offering = false;
            }
        }
        for (int tile = 0; tile < TILES; tile++) {
            if (*ports[tile].out_valid && *ports[tile].out_ready) {
                deliver(tile, ports[tile].out_payload(), check ? 0 : warm);
                last_delivery = cycles;
                counted += cycles >= warm;
            }
        }
        design.clk = 1;
        design.eval();
        cycles++;
        if (check && cycles - last_delivery > DEADLOCK) { // otherwise the rest counts as lost below
            deadlock = packets < count;
            break;
        }
    }
    if (check)
        for (Source &source : sources)
            for (Packet &packet : source.ring) lost += __builtin_popcountll(packet.due);
    printf("{\"packets\": %llu, \"copies\": %llu, \"delivered\": %llu, \"lost\": %llu, \"duplicated\": %llu, "
           "\"misrouted\": %llu, \"reordered\": %llu, \"cycles\": %llu, \"deadlock\": %s, \"latency\": %.3f, "
           "\"delivered_per_cycle\": %.4f}\n",
           (unsigned long long)packets, (unsigned long long)copies, (unsigned long long)delivered,
           (unsigned long long)lost, (unsigned long long)duplicated, (unsigned long long)misrouted,
           (unsigned long long)reordered, (unsigned long long)cycles, deadlock ? "true" : "false",
           latency_count ? latency_sum / double(latency_count) : 0.0,
           double(counted) / double(check ? cycles : cycles - warm));
}
