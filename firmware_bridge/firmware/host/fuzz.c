/* A coverage-guided fuzzer of the whole core, small enough to need nothing but gcc: the compiler reports every edge
 * (-fsanitize-coverage=trace-pc), inputs that reach a new one are kept and mutated further. Half of the inputs get their CRC
 * repaired, so that the search gets past it; the other half tells whether a damaged frame is ever taken for a good one.
 * Built with the address and undefined-behaviour sanitizers: any slip of the core ends the run.
 *
 * Usage: fuzz INPUTS SEED. Prints one line of JSON. */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "../core/bytes.h"
#include "../core/controller.h"

#define MAP_SIZE 4096u
#define CORPUS_SIZE 4096u
#define INPUT_SIZE 600u
#define JOINTS 3u

typedef struct {
    uint8_t bytes[INPUT_SIZE];
    size_t length;
} input_t;

void __sanitizer_cov_trace_pc(void);

static uint8_t seen_now[MAP_SIZE];
static uint8_t seen_ever[MAP_SIZE];
static input_t corpus[CORPUS_SIZE];
static size_t corpus_count;
static uint64_t random_state;

void __sanitizer_cov_trace_pc(void) {
    const uintptr_t at = (uintptr_t)__builtin_return_address(0);
    seen_now[(at ^ (at >> 13)) % MAP_SIZE] = 1;
}

static uint32_t rnd(uint32_t below) {
    random_state ^= random_state << 13;
    random_state ^= random_state >> 7;
    random_state ^= random_state << 17;
    return (uint32_t)((random_state >> 11) % below);
}

static void append(input_t *input, const uint8_t *bytes, size_t length) {
    if ((input->length + length) <= INPUT_SIZE) {
        memcpy(&input->bytes[input->length], bytes, length);
        input->length += length;
    }
}

/* A frame with a good CRC around a body that is random, or has the shape of its type. */
static void append_frame(input_t *input, uint16_t sequence) {
    uint8_t payload[FOSP_MAX_PAYLOAD];
    uint8_t frame[FOSP_MAX_FRAME];
    static const uint8_t LENGTHS[12] = {0, 10, 33, 1, 5, 4, 0, 1, 0, 4, 2 + (4 * JOINTS), 0};
    const uint8_t type = (uint8_t)rnd(13);
    const size_t body = ((type < 12u) && (rnd(8) != 0u)) ? LENGTHS[type] : rnd(60);
    payload[0] = type;
    (void)fosp_put_u16(&payload[1], sequence);
    for (size_t at = 0; at < body; ++at) {
        payload[3u + at] = (rnd(3) == 0u) ? (uint8_t)rnd(256) : 0u;
    }
    if ((type == 1u) && (body == 10u)) {
        (void)fosp_put_u32(&payload[3], FOSP_MAGIC);
        payload[7] = 1;
        payload[9] = 1;
    }
    if ((type == 10u) && (body >= 2u)) {
        payload[3] = (uint8_t)(1u + rnd(3));
        payload[4] = JOINTS;
        for (size_t at = 0; at + 4u <= (body - 2u); at += 4u) {
            (void)fosp_put_u32(&payload[5u + at], rnd(2600000) - 1300000u);
        }
    }
    append(input, frame, fosp_encode_frame(payload, 3u + body, frame));
}

static void mutate(input_t *input) {
    const uint32_t times = 1u + rnd(4);
    if (corpus_count > 0u) {
        *input = corpus[rnd((uint32_t)corpus_count)];
    } else {
        input->length = 0;
    }
    for (uint32_t at = 0; at < times; ++at) {
        const uint32_t where = (input->length > 0u) ? rnd((uint32_t)input->length) : 0u;
        switch (rnd(6)) {
            case 0:
                if (input->length > 0u) {
                    input->bytes[where] ^= (uint8_t)(1u << rnd(8));
                }
                break;
            case 1:
                if (input->length > 0u) {
                    input->bytes[where] = (uint8_t)rnd(256);
                }
                break;
            case 2:
                input->length = where;
                break;
            case 3: {
                const uint8_t noise = (uint8_t)rnd(256);
                append(input, &noise, 1);
                break;
            }
            default:
                append_frame(input, (uint16_t)(1u + at + rnd(40)));
                break;
        }
    }
}

/* A controller that is armed and moving, so that what a frame can do matters. */
static void prepare(fosp_controller_t *controller, fosp_feedback_t *feedback) {
    static const fosp_identity_t IDENTITY = {JOINTS, 127, "fuzzed", "F"};
    static const fosp_limits_t LIMITS = {-2000000, 2000000, 1000000, 10000000, 3000, 400000, 700, 2000};
    fosp_controller_init(controller, &IDENTITY);
    memset(feedback, 0, sizeof(*feedback));
    feedback->valid = true;
    for (uint32_t joint = 0; joint < JOINTS; ++joint) {
        controller->limits[joint] = LIMITS;
        controller->has_limits[joint] = true;
        controller->armed_limits[joint] = LIMITS;
        fosp_memory_fresh(&LIMITS, &feedback->measured[joint], &controller->memory[joint]);
    }
    controller->state = FOSP_ARMED;
    controller->drive = FOSP_DRIVE_HOLD;
}

/* Whatever was received: within the limits that are in force, and never a drive without its reason. */
static bool sound(const fosp_controller_t *controller) {
    for (uint32_t joint = 0; joint < JOINTS; ++joint) {
        const fosp_limits_t *limits = &controller->armed_limits[joint];
        const int64_t bound =
            (controller->drive == FOSP_DRIVE_EFFORT) ? limits->effort_max_mnm : limits->velocity_max_urad_s;
        if ((controller->setpoints[joint] > bound) || (controller->setpoints[joint] < -bound)) {
            return false;
        }
        if ((controller->setpoints[joint] != 0) && (controller->state != FOSP_ARMED) && !controller->ramping) {
            return false;
        }
    }
    return controller->output_count <= FOSP_OUTPUT_SIZE;
}

int main(int arguments, char **argument) {
    const uint64_t inputs = (arguments > 1) ? strtoull(argument[1], NULL, 10) : 100000u;
    uint64_t bytes = 0;
    uint64_t unsound = 0;
    uint64_t damaged = 0;
    uint64_t damaged_accepted = 0;
    uint32_t edges = 0;
    random_state = 88172645463325252u ^ ((arguments > 2) ? strtoull(argument[2], NULL, 10) : 1u);
    for (uint64_t number = 0; number < inputs; ++number) {
        static fosp_controller_t controller;
        static fosp_feedback_t feedback;
        static input_t input;
        bool fresh = false;
        mutate(&input);
        bytes += input.length;
        prepare(&controller, &feedback);
        memset(seen_now, 0, sizeof(seen_now));
        for (size_t at = 0; at < input.length; at += 50u) {
            const size_t length = ((input.length - at) < 50u) ? (input.length - at) : 50u;
            fosp_controller_receive(&controller, &input.bytes[at], length);
            fosp_controller_tick(&controller, 1000, &feedback);
            unsound += sound(&controller) ? 0u : 1u;
        }
        for (uint32_t edge = 0; edge < MAP_SIZE; ++edge) {
            if ((seen_now[edge] != 0u) && (seen_ever[edge] == 0u)) {
                seen_ever[edge] = 1;
                ++edges;
                fresh = true;
            }
        }
        if (fresh && (corpus_count < CORPUS_SIZE)) {
            corpus[corpus_count] = input;
            ++corpus_count;
        }
        /* One good frame, damaged in one to eight places: is it ever taken for a good one? */
        {
            input_t one = {{0}, 0};
            fosp_decoder_t decoder;
            uint8_t before[INPUT_SIZE];
            append_frame(&one, (uint16_t)rnd(65536));
            memcpy(before, one.bytes, one.length);
            for (uint32_t at = 0, times = 1u + rnd(8); at < times; ++at) {
                one.bytes[rnd((uint32_t)one.length - 1u)] = (uint8_t)(1u + rnd(255));
            }
            if (memcmp(before, one.bytes, one.length) != 0) {
                ++damaged;
                fosp_decoder_init(&decoder);
                for (size_t at = 0; at < one.length; ++at) {
                    damaged_accepted += (fosp_decoder_push(&decoder, one.bytes[at]) == FOSP_FRAME_READY) ? 1u : 0u;
                }
            }
        }
    }
    (void)printf("{\"inputs\": %" PRIu64 ", \"bytes\": %" PRIu64 ", \"edges\": %" PRIu32 ", \"corpus\": %zu, \"unsound\": %" PRIu64
                 ", \"damaged_frames\": %" PRIu64 ", \"damaged_frames_accepted\": %" PRIu64 "}\n",
                 inputs, bytes, edges, corpus_count, unsound, damaged, damaged_accepted);
    return (unsound == 0u) ? 0 : 1;
}
