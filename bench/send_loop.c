/*
 * The yardstick for broadcasts: a bare send() of a different 54-byte text to each of N sockets, in a loop, with a reader
 * on another core. Nothing that tells N clients something over TCP, one write each, can be faster.
 *
 *   send_loop [--sockets 10000] [--seconds 10]
 *
 * TCP over loopback, no Nagle, as a server's WebSockets are. The reader is another process, which reads all that comes
 * and does nothing with it. Prints one JSON object; fails when a byte was lost. Ends by itself.
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

enum { MESSAGE = 54 };

static void die(const char *what) {
    fprintf(stderr, "send_loop: %s: %s\n", what, strerror(errno));
    exit(1);
}

static double now(void) {
    struct timespec time;
    clock_gettime(CLOCK_MONOTONIC, &time);
    return (double)time.tv_sec + (double)time.tv_nsec / 1e9;
}

static void pin(unsigned core) {
    cpu_set_t set;
    CPU_ZERO(&set);
    CPU_SET(core, &set);
    if (sched_setaffinity(0, sizeof set, &set) < 0) die("sched_setaffinity");
}

/* Two cores that this process may use, or the same one twice; says how many there are. */
static int choose_cores(unsigned chosen[2]) {
    cpu_set_t set;
    if (sched_getaffinity(0, sizeof set, &set) < 0) die("sched_getaffinity");
    int count = 0;
    for (unsigned core = 0; core < CPU_SETSIZE; core++)
        if (CPU_ISSET(core, &set) && count++ < 2) chosen[count - 1] = core;
    if (count == 1) chosen[1] = chosen[0];
    return count;
}

/* The reader: opens the connections, reads until each has ended, and reports how many bytes came. */
static void read_all(struct sockaddr_in address, int sockets, int report) {
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    int poller = epoll_create1(0);
    if (poller < 0) die("epoll_create1");
    for (int i = 0; i < sockets; i++) {
        int fd = socket(AF_INET, SOCK_STREAM, 0);
        if (fd < 0) die("socket");
        if (connect(fd, (struct sockaddr *)&address, sizeof address) < 0) die("connect");
        struct epoll_event event = {.events = EPOLLIN, .data.fd = fd};
        if (epoll_ctl(poller, EPOLL_CTL_ADD, fd, &event) < 0) die("epoll_ctl");
    }
    static char buffer[65536];
    static struct epoll_event events[1024];
    uint64_t bytes = 0;
    for (int open = sockets; open > 0;) {
        int ready = epoll_wait(poller, events, 1024, -1);
        if (ready < 0 && errno != EINTR) die("epoll_wait");
        for (int i = 0; i < ready; i++) {
            ssize_t length = read(events[i].data.fd, buffer, sizeof buffer);
            if (length < 0) die("read");
            bytes += (uint64_t)length;
            if (length == 0) {
                close(events[i].data.fd);
                open--;
            }
        }
    }
    if (write(report, &bytes, sizeof bytes) != sizeof bytes) die("write");
    _exit(0);
}

static int listen_on_loopback(struct sockaddr_in *address) {
    int fd = socket(AF_INET, SOCK_STREAM, 0);
    socklen_t length = sizeof *address;
    *address = (struct sockaddr_in){.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    if (fd < 0 || bind(fd, (struct sockaddr *)address, length) < 0 || listen(fd, 4096) < 0 ||
        getsockname(fd, (struct sockaddr *)address, &length) < 0)
        die("listen");
    return fd;
}

/* Sends all of it; says whether the socket had to be waited for. */
static int send_message(int fd, const char *text) {
    int blocked = 0;
    for (ssize_t done = 0; done < MESSAGE;) {
        ssize_t sent = send(fd, text + done, (size_t)(MESSAGE - done), MSG_DONTWAIT | MSG_NOSIGNAL);
        if (sent >= 0) {
            done += sent;
        } else if (errno == EAGAIN) {
            struct pollfd wait = {.fd = fd, .events = POLLOUT};
            blocked = 1;
            poll(&wait, 1, 1000);
        } else if (errno != EINTR) {
            die("send");
        }
    }
    return blocked;
}

int main(int count, char **arguments) {
    int sockets = 10000;
    double seconds = 10;
    for (int i = 1; i + 1 < count; i += 2) {
        if (strcmp(arguments[i], "--sockets") == 0) sockets = atoi(arguments[i + 1]);
        if (strcmp(arguments[i], "--seconds") == 0) seconds = atof(arguments[i + 1]);
    }
    if (count % 2 == 0 || sockets < 1 || seconds <= 0) {
        fprintf(stderr, "usage: send_loop [--sockets N] [--seconds S]\n");
        return 64;
    }
    alarm((unsigned)seconds + 120); /* whatever happens, it ends */

    struct rlimit files;
    getrlimit(RLIMIT_NOFILE, &files);
    files.rlim_cur = files.rlim_max;
    setrlimit(RLIMIT_NOFILE, &files);

    struct sockaddr_in address;
    unsigned cores[2];
    int report[2], listener = listen_on_loopback(&address);
    int core_count = choose_cores(cores);
    if (pipe(report) < 0) die("pipe");
    pid_t reader = fork();
    if (reader < 0) die("fork");
    pin(cores[reader == 0]);
    if (reader == 0) {
        close(listener);
        close(report[0]);
        read_all(address, sockets, report[1]);
    }
    close(report[1]);

    int *fds = calloc((size_t)sockets, sizeof *fds);
    if (fds == NULL) die("calloc");
    for (int i = 0; i < sockets; i++) {
        /* A reader that failed closes the pipe; without this, accept would wait for it until the alarm. */
        struct pollfd wait[2] = {{.fd = listener, .events = POLLIN}, {.fd = report[0], .events = POLLIN}};
        if (poll(wait, 2, -1) < 0) die("poll");
        if (wait[1].revents != 0) return 1;
        fds[i] = accept(listener, NULL, NULL);
        int yes = 1;
        if (fds[i] < 0 || setsockopt(fds[i], IPPROTO_TCP, TCP_NODELAY, &yes, sizeof yes) < 0) die("accept");
    }

    /* The first round is not counted: it makes the kernel's buffers. */
    char text[MESSAGE + 1];
    uint64_t messages = 0, blocked = 0;
    double began = 0, sent_at;
    for (int round = 0;; round++) {
        if (round == 1) began = now();
        for (int i = 0; i < sockets; i++) {
            snprintf(text, sizeof text, "{\"type\":\"sale\",\"sale\":42,\"remaining\":%016llu}",
                     (unsigned long long)(messages + (uint64_t)i));
            blocked += (uint64_t)send_message(fds[i], text);
        }
        messages += (uint64_t)sockets;
        sent_at = now();
        if (round > 0 && sent_at - began >= seconds) break;
    }
    if (strlen(text) != MESSAGE) die("the text is not as long as it says");
    for (int i = 0; i < sockets; i++) close(fds[i]);

    uint64_t bytes = 0;
    if (read(report[0], &bytes, sizeof bytes) != sizeof bytes) die("the reader failed");
    double read_at = now();
    waitpid(reader, NULL, 0);
    if (bytes != messages * MESSAGE) {
        fprintf(stderr, "send_loop: %llu bytes sent, %llu read\n", (unsigned long long)(messages * MESSAGE),
                (unsigned long long)bytes);
        return 1;
    }
    double counted = (double)(messages - (uint64_t)sockets);
    printf("{\"benchmark\":\"send_loop\",\"sockets\":%d,\"bytes\":%d,\"cores\":%d,\"seconds\":%.2f,\"messages\":%.0f,"
           "\"sent_per_second\":%.0f,\"read_per_second\":%.0f,\"blocked\":%llu}\n",
           sockets, MESSAGE, core_count, sent_at - began, counted, counted / (sent_at - began),
           counted / (read_at - began), (unsigned long long)blocked);
    return 0;
}
