/*
 * Clients that are told something, all by the same reader: of Dibs, of nginx with nchan, and of push_loop.
 *
 *   subscribers --port P [--path /ws] [--count 10000] [--tokens FILE [--skip 0] [--room NAME]] [--together 64]
 *               [--rounds 0 --publish FILE [--from 0 --step 1] [--begins TEXT]]
 *
 * Connects all, `--together` at a time, and says {"event":"ready",…}: how fast that went. With tokens (one a line, from
 * line --skip on) each says `connect`, with a room it joins, and is ready when it is answered. Without rounds it then
 * stays until standard input ends.
 *
 * A round publishes by sending the HTTP request that is in the file to the same port, over a connection of its own, and
 * lasts until the last client has been told: a text that begins so. `##########` in the request is replaced by a
 * number, --from plus --step for every round. Who is told `admitted` is not in line any more, and doesn't count from
 * that round on. Between rounds nothing has come for 150 ms, so no round has the end of another in it. The first is for
 * warming up. Prints one JSON object; fails when somebody has heard nothing for 20 s. Ends by itself.
 */
#define _GNU_SOURCE
#include "clients.h"

#include <errno.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

static uint32_t current_round;
static int missing, waiting;
static uint64_t first_told_at, last_told_at, told, frames, bytes;
static const char *beginning = "";
static size_t beginning_size;

static void heard(struct clients *clients, struct client *client, const unsigned char *text, size_t size) {
    static const char admitted[] = "{\"type\":\"admitted\"";
    (void)clients;
    if (client->isGone) return;
    if (size < beginning_size || memcmp(text, beginning, beginning_size) != 0) {
        if (beginning_size == 0 || size < sizeof admitted - 1 || memcmp(text, admitted, sizeof admitted - 1) != 0) return;
        client->isGone = true;
        waiting--;
        if (client->round < current_round) missing--;
        return;
    }
    frames++;
    bytes += size;
    if (client->round == current_round) return;
    client->round = current_round;
    last_told_at = now();
    if (told++ == 0) first_told_at = last_told_at;
    missing--;
}

static void stay(struct clients *clients) {
    struct client input = {.fd = 0};
    struct epoll_event event = {.events = EPOLLIN, .data.ptr = &input};
    int poller = epoll_create1(0);
    if (poller < 0) die("epoll_create1");
    if (epoll_ctl(poller, EPOLL_CTL_ADD, 0, &event) < 0) return; /* a file, or /dev/null: nothing that ends later */
    event.data.ptr = clients;
    if (epoll_ctl(poller, EPOLL_CTL_ADD, clients->poller, &event) < 0) die("epoll_ctl");
    for (char byte;;) {
        if (epoll_wait(poller, &event, 1, -1) < 0 && errno != EINTR) die("epoll_wait");
        if (event.data.ptr == clients) read_clients(clients, 0, heard);
        else if (read(0, &byte, 1) <= 0) return;
    }
}

/* Reads the answer to what was published. */
static void expect_success(int fd) {
    static char text[65536];
    errno = 0;
    if (recv(fd, text, sizeof text, 0) < 12 || memcmp(text, "HTTP/1.1 2", 10) != 0) {
        fprintf(stderr, "%.200s\n", text);
        die("nothing was published");
    }
}

int main(int argc, char **argv) {
    int count = 10000, together = 64, rounds = 0;
    long skip = 0, from = 0, step = 1;
    const char *tokens = NULL, *publish = NULL;
    static struct clients clients;
    for (int i = 1; i + 1 < argc; i += 2) {
        const char *name = argv[i], *value = argv[i + 1];
        if (strcmp(name, "--port") == 0) set_ports(&clients, value);
        else if (strcmp(name, "--path") == 0) clients.path = value;
        else if (strcmp(name, "--count") == 0) count = atoi(value);
        else if (strcmp(name, "--tokens") == 0) tokens = value;
        else if (strcmp(name, "--skip") == 0) skip = atol(value);
        else if (strcmp(name, "--room") == 0) clients.room = value;
        else if (strcmp(name, "--together") == 0) together = atoi(value);
        else if (strcmp(name, "--rounds") == 0) rounds = atoi(value);
        else if (strcmp(name, "--publish") == 0) publish = value;
        else if (strcmp(name, "--from") == 0) from = atol(value);
        else if (strcmp(name, "--step") == 0) step = atol(value);
        else if (strcmp(name, "--begins") == 0) beginning = value;
        else die("wrong options");
    }
    if (argc % 2 == 0 || clients.port_count == 0 || count <= 0 || together <= 0 || (rounds > 0) != (publish != NULL))
        die("wrong options");
    beginning_size = strlen(beginning);
    alarm(300); /* whatever happens, it ends */
    raise_descriptors();
    if (tokens != NULL) set_tokens(&clients, tokens, skip, count);

    double processor = processor_seconds();
    open_clients(&clients, count, together);
    double opening = (double)(clients.last_at - clients.first_at) / 1e9;
    printf("{\"event\":\"ready\",\"clients\":%d,\"connectedPerSecond\":%.0f,\"openingProcessorUs\":%.2f}\n", count,
           count / opening, 1e6 * (processor_seconds() - processor) / count);
    fflush(stdout);
    for (int i = 0; i < count; i++) waiting += !clients.all[i].isGone;
    if (rounds == 0) {
        stay(&clients);
        return 0;
    }

    char *request = contents(publish);
    size_t size = strlen(request);
    char *number = strstr(request, "##########");
    struct sockaddr_in address = loopback(clients.ports[0]);
    int publisher = socket(AF_INET, SOCK_STREAM, 0), yes = 1;
    if (publisher < 0 || connect(publisher, (struct sockaddr *)&address, sizeof address) < 0) die("connect");
    setsockopt(publisher, IPPROTO_TCP, TCP_NODELAY, &yes, sizeof yes);
    uint64_t all_told = 0, to_last = 0, to_first = 0, most = 0;
    for (int round = 0; round <= rounds; round++) {
        while (read_clients(&clients, 150, heard)) {}
        if (round == 1) {
            frames = bytes = 0;
            processor = processor_seconds();
        }
        if (number != NULL) {
            char digits[24];
            snprintf(digits, sizeof digits, "%10ld", from + step * round);
            memcpy(number, digits, 10);
        }
        current_round++;
        told = 0;
        missing = waiting;
        uint64_t began = now();
        int silent = 0;
        send_all(publisher, request, size);
        while (missing > 0) {
            silent = read_clients(&clients, 1000, heard) ? 0 : silent + 1;
            errno = 0;
            if (silent > 20) {
                fprintf(stderr, "round %d: %d of %d are missing\n", round, missing, waiting);
                die("somebody is not told");
            }
        }
        expect_success(publisher);
        if (round == 0) continue;
        all_told += told;
        to_last += last_told_at - began;
        to_first += first_told_at - began;
        if (last_told_at - began > most) most = last_told_at - began;
    }
    processor = processor_seconds() - processor;
    printf("{\"rounds\":%d,\"told\":%llu,\"frames\":%llu,\"bytesPerFrame\":%.1f,\"toldPerSecond\":%.0f,"
           "\"flowingPerSecond\":%.0f,\"toFirstMs\":%.3f,\"toLastMs\":%.3f,\"mostMs\":%.3f,\"processorUs\":%.3f}\n",
           rounds, (unsigned long long)all_told, (unsigned long long)frames, (double)bytes / (double)frames,
           (double)all_told / ((double)to_last / 1e9), (double)all_told / ((double)(to_last - to_first) / 1e9),
           (double)to_first / 1e6 / rounds, (double)to_last / 1e6 / rounds, (double)most / 1e6,
           1e6 * processor / (double)frames);
    return 0;
}
