/*
 * Many WebSocket clients in one process, as cheap as can be: epoll, one buffer for all, frames are counted and hardly
 * looked at. What the yardsticks and Dibs are measured by must not cost more than what is measured.
 */
#ifndef CLIENTS_H
#define CLIENTS_H

#include <netinet/in.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/epoll.h>

enum { MOST_PORTS = 16 };

struct client {
    int fd;
    /* 0: the upgrade; 1: `connect` was sent; 2: `join` was sent; 3: ready. */
    unsigned char stage;
    /* Not in line any more: it was admitted. */
    bool isGone;
    /* The beginning of a frame whose end has not come yet. */
    uint32_t kept_size;
    unsigned char *kept;
    /* For whoever uses it. */
    uint32_t round, outstanding;
    uint64_t asked_at;
};

struct clients {
    int poller;
    int count;
    int ready;
    struct client *all;
    int ports[MOST_PORTS], port_count; /* the servers', taken in turn */
    const char *path;
    const char *room;   /* joined when it is not NULL */
    char **tokens;      /* `connect` is said with these when it is not NULL */
    int opening, opened;
    uint64_t first_at, last_at; /* of connecting */
};

/* A text frame of a client. */
typedef void on_text(struct clients *, struct client *, const unsigned char *text, size_t size);

_Noreturn void die(const char *what);
/* Nanoseconds of the monotonic clock. */
uint64_t now(void);
/* Seconds of processor time that this process has taken. */
double processor_seconds(void);
/* As many descriptors as the hard limit allows. */
void raise_descriptors(void);
/* The whole of a file, and a 0. */
char *contents(const char *path);
struct sockaddr_in loopback(int port);
/* Sends all, waiting where the socket is full. */
void send_all(int fd, const void *bytes, size_t size);
/* Writes a client's text frame, masked with zeros, which mask nothing; returns its size. Takes size + 8 bytes at most. */
size_t put_frame(unsigned char *into, const char *text, size_t size);

/* Takes ports from a list with commas between, and tokens from the lines of a file after the first `skip`. */
void set_ports(struct clients *, const char *list);
void set_tokens(struct clients *, const char *path, long skip, long count);

/* Opens `count` connections, `together` at a time, and returns when all are ready: upgraded, and where there are tokens
 * connected, and where there is a room in it or in its line. */
void open_clients(struct clients *, int count, int together);
/* Reads what has come, for up to so many ms or until something came; false when nothing did. */
bool read_clients(struct clients *, int milliseconds, on_text *);

#endif
