/* See clients.h. RFC 6455 is followed as far as a server that does is on the other end. */
#define _GNU_SOURCE
#include "clients.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

enum { BUFFER = 1 << 18, READY = 3 };

void die(const char *what) {
    fprintf(stderr, "%s: %s%s%s\n", program_invocation_short_name, what, errno ? ": " : "", errno ? strerror(errno) : "");
    exit(1);
}

uint64_t now(void) {
    struct timespec time;
    clock_gettime(CLOCK_MONOTONIC, &time);
    return (uint64_t)time.tv_sec * 1000000000u + (uint64_t)time.tv_nsec;
}

double processor_seconds(void) {
    struct timespec time;
    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &time);
    return (double)time.tv_sec + (double)time.tv_nsec / 1e9;
}

void raise_descriptors(void) {
    struct rlimit files;
    getrlimit(RLIMIT_NOFILE, &files);
    files.rlim_cur = files.rlim_max;
    setrlimit(RLIMIT_NOFILE, &files);
}

char *contents(const char *path) {
    FILE *file = fopen(path, "r");
    size_t size = 0, room = 4096;
    char *text = malloc(room);
    if (file == NULL) die(path);
    /* Files of /proc have no size. */
    for (;;) {
        if (text == NULL) die("no memory");
        size_t more = fread(text + size, 1, room - size - 1, file);
        if (more == 0) break;
        size += more;
        if (size + 1 == room) text = realloc(text, room *= 2);
    }
    if (ferror(file)) die(path);
    fclose(file);
    text[size] = 0;
    return text;
}

struct sockaddr_in loopback(int port) {
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons((uint16_t)port)};
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    return address;
}

void send_all(int fd, const void *bytes, size_t size) {
    for (size_t sent = 0; sent < size;) {
        ssize_t n = send(fd, (const char *)bytes + sent, size - sent, MSG_NOSIGNAL | MSG_DONTWAIT);
        if (n >= 0) {
            sent += (size_t)n;
        } else if (errno == EAGAIN) {
            struct pollfd wait = {.fd = fd, .events = POLLOUT};
            poll(&wait, 1, 1000);
        } else if (errno != EINTR) {
            die("send");
        }
    }
}

size_t put_frame(unsigned char *into, const char *text, size_t size) {
    size_t head = 2;
    into[0] = 0x81;
    if (size < 126) {
        into[1] = (unsigned char)(0x80 | size);
    } else {
        into[1] = 0x80 | 126;
        into[2] = (unsigned char)(size >> 8);
        into[3] = (unsigned char)size;
        head = 4;
    }
    memset(into + head, 0, 4);
    memcpy(into + head + 4, text, size);
    return head + 4 + size;
}

/* --- Opening --------------------------------------------------------------------------------------------------------- */

static void open_next(struct clients *clients) {
    struct client *client = &clients->all[clients->opened++];
    int yes = 1;
    client->fd = socket(AF_INET, SOCK_STREAM, 0);
    /* On loopback the handshake of TCP is over at once, unless the backlog is full. */
    struct sockaddr_in address = loopback(clients->ports[(client - clients->all) % clients->port_count]);
    if (client->fd < 0 || connect(client->fd, (struct sockaddr *)&address, sizeof address) < 0) die("connect");
    setsockopt(client->fd, IPPROTO_TCP, TCP_NODELAY, &yes, sizeof yes);
    struct epoll_event event = {.events = EPOLLIN, .data.ptr = client};
    if (epoll_ctl(clients->poller, EPOLL_CTL_ADD, client->fd, &event) < 0) die("epoll_ctl");
    char text[512];
    int size = snprintf(text, sizeof text,
                        "GET %s HTTP/1.1\r\nHost: 127.0.0.1:%d\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
                        "Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n",
                        clients->path, ntohs(address.sin_port));
    send_all(client->fd, text, (size_t)size);
    clients->opening++;
}

static void send_text(int fd, const char *text) {
    unsigned char frame[2048];
    size_t size = strlen(text);
    if (size > sizeof frame - 16) die("a text is too long");
    send_all(fd, frame, put_frame(frame, text, size));
}

static void is_ready(struct clients *clients, struct client *client) {
    client->stage = READY;
    clients->ready++;
    clients->opening--;
    clients->last_at = now();
    if (clients->opened < clients->count) open_next(clients);
}

/* Goes on to the next step of opening. */
static void advance(struct clients *clients, struct client *client) {
    char text[1024];
    if (client->stage == 0 && clients->tokens != NULL) {
        snprintf(text, sizeof text, "{\"type\":\"connect\",\"token\":\"%s\"}", clients->tokens[client - clients->all]);
        client->stage = 1;
    } else if (client->stage < 2 && clients->room != NULL) {
        snprintf(text, sizeof text, "{\"type\":\"join\",\"room\":\"%s\"}", clients->room);
        client->stage = 2;
    } else {
        return is_ready(clients, client);
    }
    send_text(client->fd, text);
}

static bool begins(const unsigned char *text, size_t size, const char *with) {
    size_t length = strlen(with);
    return size >= length && memcmp(text, with, length) == 0;
}

static void opening_text(struct clients *clients, struct client *client, const unsigned char *text, size_t size) {
    bool isConnected = client->stage == 1 && begins(text, size, "{\"type\":\"connected\"");
    bool isAdmitted = client->stage >= 2 && begins(text, size, "{\"type\":\"admitted\"");
    if (isAdmitted) client->isGone = true;
    bool hasJoined = client->stage == 2 && (isAdmitted || begins(text, size, "{\"type\":\"joined\""));
    if (isConnected || hasJoined) return advance(clients, client);
    if (client->stage == READY || client->stage == 2) return; /* a place that changed meanwhile */
    fprintf(stderr, "%.*s\n", (int)size, text);
    errno = 0;
    die("that is no answer");
}

void set_ports(struct clients *clients, const char *list) {
    for (char *end; *list != 0 && clients->port_count < MOST_PORTS; list = *end == ',' ? end + 1 : end) {
        long port = strtol(list, &end, 10);
        if (end == list || port <= 0 || port > 65535) die("a port is none");
        clients->ports[clients->port_count++] = (int)port;
    }
}

void set_tokens(struct clients *clients, const char *path, long skip, long count) {
    clients->tokens = calloc((size_t)count, sizeof *clients->tokens);
    if (clients->tokens == NULL) die("no memory");
    char *rest = contents(path);
    for (long line = 0; line < skip + count; line++) {
        char *token = strsep(&rest, "\n");
        if (token == NULL || *token == 0) die("there are not enough tokens");
        if (line >= skip) clients->tokens[line - skip] = token;
    }
}

void open_clients(struct clients *clients, int count, int together) {
    clients->poller = epoll_create1(0);
    clients->all = calloc((size_t)count, sizeof *clients->all);
    if (clients->poller < 0 || clients->all == NULL) die("no memory");
    clients->count = count;
    if (clients->path == NULL) clients->path = "/ws";
    clients->first_at = now();
    while (clients->opened < count && clients->opening < together) open_next(clients);
    /* Counted, not by the clock: this process may be stopped for a while. */
    for (int silent = 0; clients->ready < count;) {
        silent = read_clients(clients, 1000, opening_text) ? 0 : silent + 1;
        errno = 0;
        if (silent > 20) die("nothing more is answered");
    }
}

/* --- Reading --------------------------------------------------------------------------------------------------------- */

static unsigned char buffer[BUFFER];

/* Takes whole frames from the front, and returns how many bytes they were. */
static size_t take_frames(struct clients *clients, struct client *client, const unsigned char *bytes, size_t size,
                          on_text *handle) {
    size_t used = 0;
    if (client->stage == 0) {
        unsigned char *end = memmem(bytes, size, "\r\n\r\n", 4);
        if (end == NULL) return 0;
        errno = 0;
        if (!begins(bytes, size, "HTTP/1.1 101")) die("no WebSocket");
        used = (size_t)(end + 4 - bytes);
        advance(clients, client);
    }
    while (size - used >= 2) {
        const unsigned char *frame = bytes + used;
        size_t head = 2, payload = frame[1] & 0x7f;
        if (payload == 126) {
            if (size - used < 4) break;
            head = 4;
            payload = (size_t)frame[2] << 8 | frame[3];
        }
        errno = 0;
        if (payload == 127) die("a frame is too long");
        if (size - used < head + payload) break;
        used += head + payload;
        switch (frame[0]) {
        case 0x81: handle(clients, client, frame + head, payload); break;
        case 0x89: {
            unsigned char pong[16] = {0x8a, 0x80};
            send_all(client->fd, pong, 6);
            break;
        }
        case 0x88: fprintf(stderr, "closed with %d\n", payload < 2 ? 0 : frame[head] << 8 | frame[head + 1]); break;
        case 0x8a: break;
        default: die("a frame that is none of ours");
        }
    }
    return used;
}

static void read_client(struct clients *clients, struct client *client, on_text *handle) {
    size_t size = client->kept_size;
    if (size > 0) memcpy(buffer, client->kept, size);
    ssize_t n = recv(client->fd, buffer + size, BUFFER - size, MSG_DONTWAIT);
    if (n < 0 && (errno == EAGAIN || errno == EINTR)) return;
    if (n <= 0) die("a connection ended");
    size += (size_t)n;
    size_t used = take_frames(clients, client, buffer, size, handle);
    if (client->kept_size > 0) {
        free(client->kept);
        client->kept = NULL;
    }
    client->kept_size = (uint32_t)(size - used);
    if (used == size) return;
    client->kept = malloc(size - used);
    if (client->kept == NULL) die("no memory");
    memcpy(client->kept, buffer + used, size - used);
}

bool read_clients(struct clients *clients, int milliseconds, on_text *handle) {
    static struct epoll_event events[512];
    int ready = epoll_wait(clients->poller, events, 512, milliseconds);
    if (ready < 0 && errno != EINTR) die("epoll_wait");
    for (int i = 0; i < ready; i++) read_client(clients, events[i].data.ptr, handle);
    return ready > 0;
}
