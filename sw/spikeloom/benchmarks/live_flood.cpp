// Sends datagrams over UDP, as fast as the kernel accepts them or at a given rate. Compiled by live_flood.py.
//
//     flood HOST PORT SOURCE PAYLOADS COUNT SECONDS RATE
//
// PAYLOADS is a file of payloads, each after its size in two bytes, the lowest first; they are sent in turn, in batches.
// SOURCE is the address, or address:port, that they are sent from. It ends after COUNT datagrams (0: no limit) or after
// SECONDS (0: no limit), and prints how many the kernel has accepted, and in which time. It sends RATE datagrams per
// second (0: no limit); if it falls behind, it catches up.

#include <arpa/inet.h>
#include <cerrno>
#include <chrono>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <fstream>
#include <iterator>
#include <string>
#include <sys/socket.h>
#include <thread>
#include <unistd.h>
#include <vector>

constexpr size_t BATCH = 64;

static void fail(const char *what) {
    std::perror(what);
    std::exit(1);
}

static sockaddr_in address_of(const std::string &host, int port) {
    sockaddr_in address{};
    address.sin_family = AF_INET;
    address.sin_port = htons(static_cast<uint16_t>(port));
    if (inet_pton(AF_INET, host.c_str(), &address.sin_addr) != 1)
        fail(host.c_str());
    return address;
}

int main(int count, char **words) {
    if (count != 8) {
        std::fprintf(stderr, "usage: %s HOST PORT SOURCE PAYLOADS COUNT SECONDS RATE\n", words[0]);
        return 2;
    }
    sockaddr_in to = address_of(words[1], std::atoi(words[2]));
    std::string source = words[3];
    size_t colon = source.find(':');
    sockaddr_in from =
        address_of(source.substr(0, colon), colon == std::string::npos ? 0 : std::atoi(&source[colon + 1]));
    std::ifstream file(words[4], std::ios::binary);
    std::vector<char> data((std::istreambuf_iterator<char>(file)), {});
    std::vector<iovec> payloads;
    for (size_t place = 0; place + 2 <= data.size();) {
        size_t size = static_cast<uint8_t>(data[place]) | static_cast<uint8_t>(data[place + 1]) << 8;
        payloads.push_back({&data[place] + 2, size});
        place += 2 + size;
    }
    uint64_t limit = std::strtoull(words[5], nullptr, 10);
    double seconds = std::atof(words[6]);
    double rate = std::atof(words[7]);
    if (payloads.empty() || (!limit && seconds <= 0)) {
        std::fprintf(stderr, "there must be payloads, and a limit\n");
        return 2;
    }

    int out = socket(AF_INET, SOCK_DGRAM, 0);
    if (out < 0 || bind(out, reinterpret_cast<sockaddr *>(&from), sizeof from))
        fail("bind");
    // Not connected: an error that came back for one datagram would otherwise end the sending of the next one.
    std::vector<mmsghdr> messages(BATCH);
    using Clock = std::chrono::steady_clock;
    auto start = Clock::now();
    auto elapsed = [&] { return std::chrono::duration<double>(Clock::now() - start).count(); };
    uint64_t sent = 0;
    while ((!limit || sent < limit) && (seconds <= 0 || elapsed() < seconds)) {
        size_t batch = BATCH;
        if (limit && limit - sent < batch)
            batch = static_cast<size_t>(limit - sent);
        for (size_t i = 0; i < batch; i++) {
            msghdr &header = messages[i].msg_hdr;
            header = {};
            header.msg_name = &to;
            header.msg_namelen = sizeof to;
            header.msg_iov = &payloads[(sent + i) % payloads.size()];
            header.msg_iovlen = 1;
        }
        int done = sendmmsg(out, messages.data(), static_cast<unsigned>(batch), 0);
        if (done < 0 && errno != EINTR && errno != ENOBUFS && errno != EAGAIN)
            fail("sendmmsg");
        sent += static_cast<uint64_t>(done > 0 ? done : 0);
        if (rate > 0)
            std::this_thread::sleep_until(start + std::chrono::duration<double>(static_cast<double>(sent) / rate));
    }
    std::printf("{\"sent\": %llu, \"seconds\": %.6f}\n", static_cast<unsigned long long>(sent), elapsed());
    close(out);
    return 0;
}
