/* The firmware as a program of this computer: opens a pseudo-terminal, prints its path, then runs the core at 1 kHz on the
 * machine's monotonic clock until it is killed. Joints are simulated. Usage: fosp_host [joints [wheels]] */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <termios.h>
#include <time.h>
#include <unistd.h>

#include "../sim/joints.h"

static uint64_t now_us(void) {
    struct timespec now;
    (void)clock_gettime(CLOCK_MONOTONIC, &now);
    return ((uint64_t)now.tv_sec * 1000000u) + ((uint64_t)now.tv_nsec / 1000u);
}

static int open_line(int *far_end) {
    struct termios raw;
    const int line = posix_openpt(O_RDWR | O_NOCTTY | O_NONBLOCK);
    if ((line < 0) || (grantpt(line) != 0) || (unlockpt(line) != 0)) {
        return -1;
    }
    *far_end = open(ptsname(line), O_RDWR | O_NOCTTY);
    if ((*far_end < 0) || (tcgetattr(*far_end, &raw) != 0)) {
        return -1;
    }
    cfmakeraw(&raw);
    return (tcsetattr(*far_end, TCSANOW, &raw) == 0) ? line : -1;
}

/* Bytes that the line cannot take stay in `pending`; the core's own output bound does the dropping. */
static void transmit(fosp_controller_t *controller, int line) {
    static uint8_t pending[FOSP_MAX_FRAME];
    static size_t held = 0;
    for (;;) {
        ssize_t written;
        held += fosp_controller_pull(controller, &pending[held], sizeof(pending) - held);
        if (held == 0u) {
            return;
        }
        written = write(line, pending, held);
        if (written <= 0) {
            return;
        }
        held -= (size_t)written;
        for (size_t at = 0; at < held; ++at) {
            pending[at] = pending[at + (size_t)written];
        }
    }
}

int main(int arguments, char **argument) {
    static fosp_controller_t controller;
    static sim_joints_t joints;
    static fosp_feedback_t feedback;
    const long wanted = (arguments > 1) ? strtol(argument[1], NULL, 10) : 6;
    const uint32_t count = ((wanted >= 1) && (wanted <= (long)FOSP_MAX_JOINTS)) ? (uint32_t)wanted : 6u;
    const bool wheels = (arguments > 2) && (strcmp(argument[2], "wheels") == 0);
    const uint32_t can = SIM_CAPABILITIES | (wheels ? FOSP_CAN_TURN_ENDLESSLY : 0u);
    const fosp_identity_t identity = {count, can, "fosp-host", "HOST0001"};
    int far_end = -1;
    const int line = open_line(&far_end);
    uint64_t last_us = now_us();
    if (line < 0) {
        perror("no pseudo-terminal");
        return 1;
    }
    printf("%s\n", ptsname(line));
    (void)fflush(stdout);
    sim_joints_init(&joints, count, wheels);
    fosp_controller_init(&controller, &identity);
    for (;;) {
        uint8_t received[512];
        struct pollfd ready = {line, POLLIN, 0};
        uint64_t time_us;
        ssize_t length;
        (void)poll(&ready, 1, 1);
        length = read(line, received, sizeof(received));
        if (length > 0) {
            fosp_controller_receive(&controller, received, (size_t)length);
        } else if ((length < 0) && (errno != EAGAIN) && (errno != EIO) && (errno != EINTR)) {
            return 0;
        } else {
            /* silence */
        }
        time_us = now_us();
        if ((time_us - last_us) >= 1000u) {
            const uint32_t dt_us = (uint32_t)(time_us - last_us);
            last_us = time_us;
            sim_joints_read(&joints, &feedback);
            fosp_controller_tick(&controller, dt_us, &feedback);
            sim_joints_step(&joints, &controller, dt_us);
        }
        transmit(&controller, line);
    }
}
