/*
 * The yardstick for telling many: a bare loop of send(), a different text to each socket, and nothing else.
 *
 *   push_loop [--port 0] [--bytes 100] [--seconds 120]
 *
 * Listens on 127.0.0.1 only, prints {"event":"listening","port":…}, and takes everybody who asks for a WebSocket: with
 * the answer to the one key that bench/clients.c has. Each POST sends one text frame of so many bytes to each of them,
 * and is answered then. Nothing that tells N clients something over TCP, one write each, can be faster. Ends by itself.
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

enum { MOST = 65536, FRAME = 1024 };

static const char welcome[] = "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
                              "Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\r\n";
static const char success[] = "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n";

static int told[MOST], told_count;

/* A frame with a text of its own, of exactly so many bytes. */
static size_t put_text(char *frame, size_t bytes, unsigned long long number) {
    size_t head = bytes < 126 ? 2 : 4;
    frame[0] = (char)0x81;
    frame[1] = (char)(bytes < 126 ? bytes : 126);
    if (head == 4) {
        frame[2] = (char)(bytes >> 8);
        frame[3] = (char)bytes;
    }
    snprintf(frame + head, bytes + 1, "{\"type\":\"rank\",\"rank\":%llu,\"seq\":%0*d}", number, (int)bytes, 0);
    return head + bytes;
}

static void push(size_t bytes, unsigned long long *number) {
    char frame[FRAME];
    for (int i = 0; i < told_count; i++) {
        size_t size = put_text(frame, bytes, 1000000 + (*number)++ % 1000000);
        send_all(told[i], frame, size);
    }
}

int main(int argc, char **argv) {
    int port = 0, bytes = 100, seconds = 120;
    for (int i = 1; i + 1 < argc; i += 2) {
        if (strcmp(argv[i], "--port") == 0) port = atoi(argv[i + 1]);
        else if (strcmp(argv[i], "--bytes") == 0) bytes = atoi(argv[i + 1]);
        else if (strcmp(argv[i], "--seconds") == 0) seconds = atoi(argv[i + 1]);
        else die("wrong options");
    }
    if (argc % 2 == 0 || bytes < 40 || bytes > FRAME - 16) die("wrong options");
    alarm((unsigned)seconds); /* whatever happens, it ends */
    raise_descriptors();

    struct sockaddr_in address = loopback(port);
    socklen_t length = sizeof address;
    int listener = socket(AF_INET, SOCK_STREAM, 0), yes = 1;
    if (listener < 0 || bind(listener, (struct sockaddr *)&address, length) < 0 || listen(listener, 4096) < 0
        || getsockname(listener, (struct sockaddr *)&address, &length) < 0)
        die("listen");
    printf("{\"event\":\"listening\",\"port\":%d}\n", ntohs(address.sin_port));
    fflush(stdout);
    int poller = epoll_create1(0);
    struct epoll_event event = {.events = EPOLLIN, .data.fd = listener}, events[256];
    if (poller < 0 || epoll_ctl(poller, EPOLL_CTL_ADD, listener, &event) < 0) die("epoll");
    unsigned long long number = 0;
    for (;;) {
        int ready = epoll_wait(poller, events, 256, -1);
        if (ready < 0 && errno != EINTR) die("epoll_wait");
        for (int i = 0; i < ready; i++) {
            int fd = events[i].data.fd;
            if (fd == listener) {
                fd = accept(listener, NULL, NULL);
                event.data.fd = fd;
                if (fd < 0 || setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &yes, sizeof yes) < 0
                    || epoll_ctl(poller, EPOLL_CTL_ADD, fd, &event) < 0)
                    die("accept");
                continue;
            }
            char request[8192];
            /* Requests here are small, and come in one piece. */
            ssize_t size = recv(fd, request, sizeof request, MSG_DONTWAIT);
            if (size > 4 && memcmp(request, "GET ", 4) == 0 && told_count < MOST) {
                send_all(fd, welcome, sizeof welcome - 1);
                told[told_count++] = fd;
            } else if (size > 4 && memcmp(request, "POST ", 5) == 0) {
                push((size_t)bytes, &number);
                send_all(fd, success, sizeof success - 1);
            } else if (size == 0) {
                /* Whoever is done ends all. */
                return 0;
            } else if (size < 0 && errno == ECONNRESET) {
                return 0;
            } else if (size > 0 || errno != EAGAIN) {
                die("recv");
            }
        }
    }
}
