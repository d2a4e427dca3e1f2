/*
 * Claims, or anything that is answered, from many connections with one message in flight each: the same for Dibs and
 * for an echo, and as cheap as can be.
 *
 *   in_flight --port P[,P] [--path /ws] [--connections 1000] [--tokens FILE [--skip 0]] [--together 64]
 *             --rounds R [--sales ID[,ID]] [--outcome TEXT] [--orders] [--at-once] [--watch PROCESS]
 *
 * Without sales the server echoes. Each connection sends the claims of its rounds one after the other, each when the
 * one before it is answered; round r is of the sale r mod their number, with a key of its own. All send the same bytes,
 * made beforehand. An answer is a `result`; it must have that outcome. With --orders it also waits until every claim
 * has been told to be `confirmed`. With --at-once everybody sends all claims at the beginning, and answers are only
 * counted.
 *
 * Of the watched process the processor time is told for each answer, from when all are connected: `watchedUs`.
 *
 * Prints one JSON object; latencies in ms, from sending to the answer. Fails when an answer is another one, or when
 * nothing comes for 30 s. Ends by itself.
 */
#define _GNU_SOURCE
#include "clients.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { FRAME = 192, PER_OCTAVE = 32 };

static unsigned char *messages; /* FRAME bytes for each round */
static size_t *sizes;
static uint32_t rounds;
static bool isEcho, wantsOrders, isAtOnce;
static const char *outcome = "accepted";
static char expected[64];
static uint64_t answered, confirmed, last_answer_at, last_order_at, bytes_told;

/* Buckets that grow by 2 % or so. */
static uint64_t buckets[64 * PER_OCTAVE];

static unsigned bucket(uint64_t value) {
    if (value < PER_OCTAVE) return (unsigned)value;
    unsigned octave = 63 - (unsigned)__builtin_clzll(value);
    return (octave - 4) * PER_OCTAVE + (unsigned)(value >> (octave - 5)) % PER_OCTAVE;
}
static double quantile(double part) {
    uint64_t wanted = (uint64_t)((double)answered * part), seen = 0;
    for (unsigned i = 0; i < 64 * PER_OCTAVE; i++) {
        seen += buckets[i];
        if (seen <= wanted) continue;
        if (i < PER_OCTAVE) return (double)i / 1e6;
        unsigned octave = i / PER_OCTAVE + 4;
        return (double)((uint64_t)(PER_OCTAVE + i % PER_OCTAVE) << (octave - 5)) / 1e6;
    }
    return 0;
}

static void send_next(struct client *client) {
    uint32_t round = client->round++;
    client->asked_at = now();
    send_all(client->fd, messages + round * FRAME, sizes[round]);
}

static void heard(struct clients *clients, struct client *client, const unsigned char *text, size_t size) {
    static const char result[] = "{\"type\":\"result\",", id[] = "\"id\":";
    static const char order[] = "{\"type\":\"order\"", settled[] = "\"status\":\"confirmed\"";
    (void)clients;
    bytes_told += size;
    errno = 0;
    if (!isEcho && size > sizeof order && memcmp(text, order, sizeof order - 1) == 0) {
        if (memmem(text, size, settled, sizeof settled - 1) == NULL) die("an order is not confirmed");
        confirmed++;
        last_order_at = now();
        return;
    }
    /* Without an id it is not the answer: the outcome in its place among all, where the answer came before it was known. */
    if (!isEcho && size > sizeof result + sizeof id && memcmp(text, result, sizeof result - 1) == 0
        && memcmp(text + sizeof result - 1, id, sizeof id - 1) != 0)
        return;
    if (!isEcho && (size < sizeof result || memcmp(text, result, sizeof result - 1) != 0
                    || memmem(text, size, expected, strlen(expected)) == NULL)) {
        fprintf(stderr, "%.*s\n", (int)size, text);
        die("that is another answer");
    }
    if (client->outstanding == 0) die("there are more answers than claims");
    client->outstanding--;
    last_answer_at = now();
    buckets[bucket(last_answer_at - client->asked_at)]++;
    answered++;
    if (!isAtOnce && client->round < rounds) send_next(client);
}

/* Ticks of processor time that a process has taken. */
static unsigned long ticks_of(int process) {
    char path[64];
    unsigned long user, system;
    snprintf(path, sizeof path, "/proc/%d/stat", process);
    char *text = contents(path), *after = strrchr(text, ')');
    /* state, then ten numbers before these two */
    if (after == NULL
        || sscanf(after, ") %*c %*d %*d %*d %*d %*d %*u %*u %*u %*u %*u %lu %lu", &user, &system) != 2)
        die(path);
    free(text);
    return user + system;
}

int main(int argc, char **argv) {
    int connections = 1000, together = 64, watched = 0;
    long skip = 0;
    const char *tokens = NULL;
    char *sales = NULL;
    static struct clients clients;
    for (int i = 1; i < argc; i++) {
        const char *name = argv[i];
        if (strcmp(name, "--orders") == 0) { wantsOrders = true; continue; }
        if (strcmp(name, "--at-once") == 0) { isAtOnce = true; continue; }
        if (++i == argc) die("wrong options");
        if (strcmp(name, "--port") == 0) set_ports(&clients, argv[i]);
        else if (strcmp(name, "--path") == 0) clients.path = argv[i];
        else if (strcmp(name, "--connections") == 0) connections = atoi(argv[i]);
        else if (strcmp(name, "--tokens") == 0) tokens = argv[i];
        else if (strcmp(name, "--skip") == 0) skip = atol(argv[i]);
        else if (strcmp(name, "--together") == 0) together = atoi(argv[i]);
        else if (strcmp(name, "--rounds") == 0) rounds = (uint32_t)atoi(argv[i]);
        else if (strcmp(name, "--sales") == 0) sales = argv[i];
        else if (strcmp(name, "--outcome") == 0) outcome = argv[i];
        else if (strcmp(name, "--watch") == 0) watched = atoi(argv[i]);
        else die("wrong options");
    }
    if (clients.port_count == 0 || connections <= 0 || rounds == 0 || together <= 0) die("--port, --rounds");
    isEcho = sales == NULL;
    snprintf(expected, sizeof expected, "\"outcome\":\"%s\"", outcome);
    alarm(300); /* whatever happens, it ends */
    raise_descriptors();
    if (tokens != NULL) set_tokens(&clients, tokens, skip, connections);

    char *named[4096];
    uint32_t sale_count = 0;
    for (char *sale; sales != NULL && (sale = strsep(&sales, ",")) != NULL && sale_count < 4096;) named[sale_count++] = sale;
    messages = calloc(rounds, FRAME);
    sizes = calloc(rounds, sizeof *sizes);
    if (messages == NULL || sizes == NULL) die("no memory");
    /* Keys of this run and no other, for who claims twice by the same tokens. */
    unsigned run = (unsigned)now() ^ (unsigned)getpid() << 16;
    for (uint32_t round = 0; round < rounds; round++) {
        char text[FRAME - 16];
        int size = snprintf(text, sizeof text, "{\"type\":\"claim\",\"sale\":%s,\"key\":\"run-%08x-%04u\",\"id\":%u}",
                            isEcho ? "1" : named[round % sale_count], run, round, round + 1);
        sizes[round] = put_frame(messages + round * FRAME, text, (size_t)size);
    }

    open_clients(&clients, connections, together);
    double processor = processor_seconds();
    unsigned long ticks = watched > 0 ? ticks_of(watched) : 0;
    uint64_t began = now();
    if (isAtOnce) {
        unsigned char *all = malloc((size_t)rounds * FRAME);
        size_t size = 0;
        if (all == NULL) die("no memory");
        for (uint32_t round = 0; round < rounds; round++) {
            memcpy(all + size, messages + round * FRAME, sizes[round]);
            size += sizes[round];
        }
        for (int i = 0; i < connections; i++) {
            clients.all[i].outstanding = rounds;
            clients.all[i].asked_at = now();
            send_all(clients.all[i].fd, all, size);
            if (i % 64 == 63) read_clients(&clients, 0, heard);
        }
    } else {
        for (int i = 0; i < connections; i++) {
            clients.all[i].outstanding = rounds;
            send_next(&clients.all[i]);
            /* So that nobody's latency has the sending of all others in it. */
            if (i % 64 == 63) read_clients(&clients, 0, heard);
        }
    }
    uint64_t wanted = (uint64_t)connections * rounds;
    /* Counted, not by the clock: this process may be stopped for a while. */
    int silent = 0;
    while (answered < wanted || (wantsOrders && confirmed < wanted)) {
        silent = read_clients(&clients, 1000, heard) ? 0 : silent + 1;
        errno = 0;
        if (silent > 30) {
            fprintf(stderr, "%llu answers, %llu confirmations of %llu\n", (unsigned long long)answered,
                    (unsigned long long)confirmed, (unsigned long long)wanted);
            die("nothing comes any more");
        }
    }
    processor = processor_seconds() - processor;
    if (watched > 0) ticks = ticks_of(watched) - ticks;
    double answers = (double)(last_answer_at - began) / 1e9, orders = (double)(last_order_at - began) / 1e9;
    printf("{\"answered\":%llu,\"perSecond\":%.0f,\"p50\":%.3f,\"p99\":%.3f,\"max\":%.3f,\"confirmed\":%llu,"
           "\"confirmedPerSecond\":%.0f,\"answerSeconds\":%.3f,\"confirmedSeconds\":%.3f,\"bytes\":%zu,"
           "\"bytesTold\":%.1f,\"processorUs\":%.3f,\"watchedUs\":%.3f,\"connectedPerSecond\":%.0f}\n",
           (unsigned long long)answered, (double)answered / answers, quantile(0.5), quantile(0.99), quantile(0.9999999),
           (unsigned long long)confirmed, confirmed > 0 ? (double)confirmed / orders : 0, answers,
           confirmed > 0 ? orders : 0, sizes[0], (double)bytes_told / (double)(answered + confirmed),
           1e6 * processor / (double)answered, 1e6 / (double)sysconf(_SC_CLK_TCK) * (double)ticks / (double)answered,
           connections / ((double)(clients.last_at - clients.first_at) / 1e9));
    return 0;
}
