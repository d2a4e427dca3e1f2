/*
 * Watchers of a performance that do nothing but read: how long the first whole answer to each takes, and how long it is.
 * The load generator reads through libwebsockets, which looks at each byte: with megabytes for a thousand watchers that
 * is all one would measure.
 *
 *   watch_seats --port P --performance ID [--watchers 1] [--compact]        (DIBS_SERVICE_KEY is what they show)
 *
 * All connect, one after the other; then all send `watch`, and read. Prints one JSON object, times in ms from the first
 * `watch`. Fails when an answer is not whole after 120 s, or not of the same length for all. Ends by itself.
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/tcp.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

enum { SECONDS = 120, BUFFER = 1 << 18 };

/* What is read of one connection: RFC 6455, 5.2; a server does not mask. */
struct watcher {
    int fd;
    unsigned char head[10];
    unsigned have;
    uint64_t left;    /* of this frame's payload */
    uint64_t payload; /* of this message's frames so far */
    bool isDone;
};

static void die(const char *what) {
    fprintf(stderr, "watch_seats: %s: %s\n", what, errno ? strerror(errno) : "");
    exit(1);
}

static double now(void) {
    struct timespec time;
    clock_gettime(CLOCK_MONOTONIC, &time);
    return (double)time.tv_sec * 1e3 + (double)time.tv_nsec / 1e6;
}

static void send_all(int fd, const void *bytes, size_t count) {
    for (size_t sent = 0; sent < count;) {
        ssize_t n = send(fd, (const char *)bytes + sent, count - sent, MSG_NOSIGNAL);
        if (n < 0) die("send");
        sent += (size_t)n;
    }
}

/* A text frame of less than 64 KiB, masked with zeros, which masks nothing. */
static void send_text(int fd, const char *text) {
    size_t length = strlen(text);
    unsigned char head[8] = {0x81};
    size_t size = 2;
    if (length < 126) {
        head[1] = (unsigned char)(0x80 | length);
    } else {
        head[1] = 0x80 | 126;
        head[2] = (unsigned char)(length >> 8);
        head[3] = (unsigned char)length;
        size = 4;
    }
    send_all(fd, head, size + 4); /* and the mask */
    send_all(fd, text, length);
}

/* Takes bytes; true when the end of a text message is among them. What comes after it is not looked at. */
static bool take(struct watcher *watcher, uint64_t count, const unsigned char *bytes) {
    while (count > 0 || watcher->left > 0) {
        if (watcher->left > 0) {
            uint64_t step = watcher->left < count ? watcher->left : count;
            if (step == 0) return false;
            watcher->left -= step;
            bytes += step;
            count -= step;
        } else {
            watcher->head[watcher->have++] = *bytes++;
            count--;
            unsigned length = watcher->have < 2 ? 0 : watcher->head[1] & 0x7F;
            unsigned extra = length == 127 ? 8 : length == 126 ? 2 : 0;
            if (watcher->have < 2 + extra) continue;
            uint64_t size = extra == 0 ? length : 0;
            for (unsigned i = 0; i < extra; i++) size = size << 8 | watcher->head[2 + i];
            watcher->left = size;
            watcher->payload += (watcher->head[0] & 0x0F) <= 1 ? size : 0;
        }
        bool isHead = watcher->have >= 2;
        if (watcher->left == 0 && isHead) {
            bool isEnd = (watcher->head[0] & 0x80) != 0 && (watcher->head[0] & 0x0F) <= 1;
            watcher->have = 0;
            if (isEnd) return true;
        }
    }
    return false;
}

static unsigned char buffer[BUFFER];

static void connect_one(struct watcher *watcher, struct sockaddr_in address, const char *key, int index) {
    int yes = 1;
    watcher->fd = socket(AF_INET, SOCK_STREAM, 0);
    if (watcher->fd < 0 || connect(watcher->fd, (struct sockaddr *)&address, sizeof address) < 0) die("connect");
    setsockopt(watcher->fd, IPPROTO_TCP, TCP_NODELAY, &yes, sizeof yes);
    char text[512];
    snprintf(text, sizeof text,
             "GET /ws HTTP/1.1\r\nHost: 127.0.0.1:%d\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
             "Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n",
             ntohs(address.sin_port));
    send_all(watcher->fd, text, strlen(text));
    /* A byte at a time: what comes after the blank line is not ours to read here. */
    size_t have = 0;
    while (have < sizeof text - 1 && (have < 4 || memcmp(text + have - 4, "\r\n\r\n", 4) != 0))
        if (recv(watcher->fd, text + have++, 1, 0) != 1) die("no answer to the upgrade");
    if (strncmp(text, "HTTP/1.1 101", 12) != 0) die("no WebSocket");
    snprintf(text, sizeof text, "{\"type\":\"connect\",\"token\":\"%s\",\"client\":\"w%d-%d\"}", key, (int)getpid(), index);
    send_text(watcher->fd, text);
    for (bool isConnected = false; !isConnected;) {
        ssize_t n = recv(watcher->fd, buffer, BUFFER, 0);
        if (n <= 0) die("no answer to connect");
        if (memmem(buffer, (size_t)n, "\"connected\"", 11) == NULL) die("not connected");
        isConnected = take(watcher, (uint64_t)n, buffer);
    }
    watcher->payload = 0;
}

static int compare(const void *one, const void *other) {
    double difference = *(const double *)one - *(const double *)other;
    return difference < 0 ? -1 : difference > 0;
}

int main(int argc, char **argv) {
    int port = 0, count = 1;
    const char *performance = NULL, *key = getenv("DIBS_SERVICE_KEY");
    bool isCompact = false;
    for (int i = 1; i < argc; i++) {
        if (strcmp(argv[i], "--compact") == 0) isCompact = true;
        else if (i + 1 < argc && strcmp(argv[i], "--port") == 0) port = atoi(argv[++i]);
        else if (i + 1 < argc && strcmp(argv[i], "--watchers") == 0) count = atoi(argv[++i]);
        else if (i + 1 < argc && strcmp(argv[i], "--performance") == 0) performance = argv[++i];
        else die("wrong options");
    }
    if (port <= 0 || count <= 0 || performance == NULL || key == NULL) die("--port, --performance, DIBS_SERVICE_KEY");
    alarm(SECONDS);

    struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons((uint16_t)port)};
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    struct watcher *watchers = calloc((size_t)count, sizeof *watchers);
    double *times = calloc((size_t)count, sizeof *times);
    int poll = epoll_create1(0);
    if (watchers == NULL || times == NULL || poll < 0) die("no memory");
    for (int i = 0; i < count; i++) {
        connect_one(&watchers[i], address, key, i);
        struct epoll_event event = {.events = EPOLLIN, .data.u32 = (uint32_t)i};
        if (epoll_ctl(poll, EPOLL_CTL_ADD, watchers[i].fd, &event) < 0) die("epoll_ctl");
    }

    char text[128];
    snprintf(text, sizeof text, "{\"type\":\"watch\",\"performance\":%s,\"compact\":%s,\"id\":1}", performance,
             isCompact ? "true" : "false");
    double began = now();
    for (int i = 0; i < count; i++) send_text(watchers[i].fd, text);
    uint64_t bytes = 0;
    for (int done = 0; done < count;) {
        struct epoll_event events[64];
        int ready = epoll_wait(poll, events, 64, -1);
        if (ready < 0) die("epoll_wait");
        for (int e = 0; e < ready; e++) {
            struct watcher *watcher = &watchers[events[e].data.u32];
            ssize_t n = recv(watcher->fd, buffer, BUFFER, MSG_DONTWAIT);
            if (n < 0 && errno == EAGAIN) continue;
            errno = 0;
            if (n <= 0) die("a connection ended");
            if (watcher->isDone || !take(watcher, (uint64_t)n, buffer)) continue;
            watcher->isDone = true;
            if (done > 0 && watcher->payload != bytes) die("answers of different lengths");
            bytes = watcher->payload;
            times[done++] = now() - began;
        }
    }
    qsort(times, (size_t)count, sizeof *times, compare);
    printf("{\"watchers\":%d,\"bytes\":%llu,\"p50\":%.3f,\"max\":%.3f}\n", count, (unsigned long long)bytes,
           times[(count - 1) / 2], times[count - 1]);
    return 0;
}
