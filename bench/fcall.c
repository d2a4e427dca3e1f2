/*
 * Calls dibs_claim as the server does: claims of one sale, many in a call, with calls in flight; and counts the
 * accepted.
 *
 *   fcall --socket PATH --sale ID [--claims 100000] [--batch 64] [--pipeline 16] [--prefix c] [--database 0] [--silent]
 *
 * The clients are prefix and twelve digits, from 1 on; each has a key. --silent tells a channel that nobody listens to
 * instead of the sale's. Prints one JSON object; fails when a claim is not accepted. The database is a number of
 * Redis'. Ends by itself.
 */
#define _GNU_SOURCE
#include "clients.h"

#include <errno.h>
#include <hiredis/hiredis.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { KEYS = 7, MOST = 1000 };

static const char *suffixes[KEYS] = {"", ":clients", ":keys", ":returned", ":orders", ":counts", ":series"};

static unsigned long long count_accepted(redisReply *reply, long wanted) {
    errno = 0;
    if (reply == NULL || reply->type != REDIS_REPLY_STRING) {
        fprintf(stderr, "%s\n", reply == NULL ? "no reply" : reply->str);
        die("no decisions");
    }
    long accepted = 0;
    for (const char *at = reply->str; at != NULL; at = strchr(at, ' '), at += at != NULL) accepted += *at == 'a';
    if (accepted != wanted) {
        fprintf(stderr, "%.100s\n", reply->str);
        die("not all are accepted");
    }
    freeReplyObject(reply);
    return (unsigned long long)accepted;
}

int main(int argc, char **argv) {
    const char *socket = NULL, *sale = NULL, *prefix = "c";
    long claims = 100000, batch = 64, pipeline = 16, database = 0;
    bool isSilent = false;
    for (int i = 1; i < argc; i++) {
        const char *name = argv[i];
        if (strcmp(name, "--silent") == 0) { isSilent = true; continue; }
        if (++i == argc) die("wrong options");
        if (strcmp(name, "--socket") == 0) socket = argv[i];
        else if (strcmp(name, "--sale") == 0) sale = argv[i];
        else if (strcmp(name, "--prefix") == 0) prefix = argv[i];
        else if (strcmp(name, "--claims") == 0) claims = atol(argv[i]);
        else if (strcmp(name, "--batch") == 0) batch = atol(argv[i]);
        else if (strcmp(name, "--pipeline") == 0) pipeline = atol(argv[i]);
        else if (strcmp(name, "--database") == 0) database = atol(argv[i]);
        else die("wrong options");
    }
    if (socket == NULL || sale == NULL || claims < 1 || batch < 1 || batch > MOST || pipeline < 1) die("wrong options");
    alarm(120); /* whatever happens, it ends */
    redisContext *redis = redisConnectUnix(socket);
    if (redis == NULL || redis->err != 0) die("no Redis");
    redisReply *selected = redisCommand(redis, "SELECT %ld", database);
    if (selected == NULL || selected->type == REDIS_REPLY_ERROR) die("no such database");
    freeReplyObject(selected);

    /* FCALL, function, 7, keys, now, channel, rolls, number of keys, clients, key fields */
    static char words[KEYS + 8][128], clients[MOST][64], fields[MOST][64], rolls[2 * MOST + 1];
    static const char *arguments[KEYS + 8 + 2 * MOST];
    static size_t lengths[KEYS + 8 + 2 * MOST];
    int head = 0;
    arguments[head++] = "FCALL";
    arguments[head++] = "dibs_claim_2";
    arguments[head++] = "7";
    for (int i = 0; i < KEYS; i++) {
        snprintf(words[i], sizeof words[i], "dibs:{sale:%s}%s", sale, suffixes[i]);
        arguments[head++] = words[i];
    }
    snprintf(words[KEYS], sizeof words[KEYS], "dibs:{sale:%s}%s", sale, isSilent ? ":nobody" : ":events");
    arguments[head++] = "";
    arguments[head++] = words[KEYS];
    arguments[head++] = rolls;
    arguments[head++] = words[KEYS + 1];

    unsigned long long accepted = 0;
    long sent = 0, calls = 0, answered = 0;
    double processor = processor_seconds();
    uint64_t began = now();
    long expected[pipeline];
    while (answered < calls || sent < claims) {
        while (sent < claims && calls - answered < pipeline) {
            long size = claims - sent < batch ? claims - sent : batch;
            for (long i = 0; i < size; i++) {
                snprintf(clients[i], sizeof clients[i], "%s%012ld", prefix, sent + i + 1);
                snprintf(fields[i], sizeof fields[i], "%s k", clients[i]);
                arguments[head + i] = clients[i];
                arguments[head + size + i] = fields[i];
                rolls[2 * i] = rolls[2 * i + 1] = '9';
            }
            rolls[2 * size] = 0;
            snprintf(words[KEYS + 1], sizeof words[KEYS + 1], "%ld", size);
            int total = head + 2 * (int)size;
            for (int i = 0; i < total; i++) lengths[i] = strlen(arguments[i]);
            if (redisAppendCommandArgv(redis, total, arguments, lengths) != REDIS_OK) die("append");
            expected[calls++ % pipeline] = size;
            sent += size;
        }
        redisReply *reply = NULL;
        if (redisGetReply(redis, (void **)&reply) != REDIS_OK) die("no reply");
        accepted += count_accepted(reply, expected[answered % pipeline]);
        answered++;
    }
    double seconds = (double)(now() - began) / 1e9;
    printf("{\"accepted\":%llu,\"calls\":%ld,\"perSecond\":%.0f,\"processorUs\":%.3f}\n", accepted, calls,
           (double)accepted / seconds, 1e6 * (processor_seconds() - processor) / (double)accepted);
    redisFree(redis);
    return 0;
}
