/* Unit tests of the safety core on the host: the sentences of PROTOCOL.md section 7, one by one. Exit status 0 when all hold.
 * tests/firmware_bridge/test_coverage.py asks for every branch of safety.c, test_mutation.py that breaking it is noticed. */
#include <stdio.h>

#include "../core/safety.h"

static const fosp_limits_t LIMITS = {-2000000, 2000000, 1000000, 10000000, 3000, 400000, 700, 2000};
static const fosp_measured_t REST = {0, 0};
static int failures;

#define CHECK(condition)                                                    \
    do {                                                                    \
        if (!(condition)) {                                                 \
            ++failures;                                                     \
            (void)printf("line %d: %s does not hold\n", __LINE__, #condition); \
        }                                                                   \
    } while (0)

static fosp_memory_t fresh(void) {
    fosp_memory_t memory;
    fosp_memory_fresh(&LIMITS, &REST, &memory);
    return memory;
}

static enum fosp_refusal ask(enum fosp_mode mode, int32_t target, fosp_measured_t measured, fosp_memory_t *memory,
                             uint64_t elapsed_us, bool mode_changed) {
    uint32_t joint = 99;
    const enum fosp_refusal answer =
        fosp_check_command(mode, &target, 1, &LIMITS, &measured, memory, elapsed_us, mode_changed, &joint);
    CHECK(joint == 0u);
    return answer;
}

static enum fosp_refusal ask_fresh(enum fosp_mode mode, int32_t target, int32_t position, int32_t velocity) {
    const fosp_measured_t measured = {position, velocity};
    fosp_memory_t memory = fresh();
    return ask(mode, target, measured, &memory, 0, false);
}

static void test_limits_valid(void) {
    static const int32_t LOWEST[8] = {-100000000, -99999999, 1, 1000, 1, 1, 1, 1};
    static const int32_t HIGHEST[8] = {99999999, 100000000, 50000000, 2000000000, 1000000, 100000000, 1200, 100000};
    for (int field = 0; field < 8; ++field) {
        for (int32_t step = -1; step <= 1; ++step) {
            union {
                fosp_limits_t limits;
                int32_t values[8];
            } low = {LIMITS}, high = {LIMITS};
            if (field == 0) {
                high.limits.position_max_urad = 100000000;
            }
            if (field == 1) {
                low.limits.position_min_urad = -100000000;
            }
            low.values[field] = LOWEST[field] + step;
            high.values[field] = HIGHEST[field] + step;
            CHECK(fosp_limits_valid(&low.limits) == (step >= 0));
            CHECK(fosp_limits_valid(&high.limits) == (step <= 0));
        }
    }
    {
        fosp_limits_t far_out = LIMITS;
        far_out.position_min_urad = 100000001;
        far_out.position_max_urad = 100000002;
        CHECK(!fosp_limits_valid(&far_out));
        far_out.position_min_urad = -100000002;
        far_out.position_max_urad = -100000001;
        CHECK(!fosp_limits_valid(&far_out));
        far_out.position_min_urad = 5;
        far_out.position_max_urad = 5;
        CHECK(!fosp_limits_valid(&far_out));
        far_out.position_max_urad = 4;
        CHECK(!fosp_limits_valid(&far_out));
    }
}

static void test_fresh_memory(void) {
    const fosp_measured_t here = {123, 456};
    fosp_memory_t memory;
    fosp_memory_fresh(&LIMITS, &here, &memory);
    CHECK(memory.velocity_target_urad_s == 0);
    CHECK(memory.velocity_budget_urad_s == 1000000);
    CHECK(memory.position_target_urad == 123);
    CHECK(memory.position_budget_urad == 100000);
}

static void test_refill(void) {
    fosp_memory_t memory = {0, 0, 0, 0};
    CHECK(ask(FOSP_MODE_VELOCITY, 0, REST, &memory, 50000, false) == FOSP_REFUSED_NONE);
    CHECK(memory.velocity_budget_urad_s == 500000);
    CHECK(memory.position_budget_urad == 50000);
    CHECK(ask(FOSP_MODE_VELOCITY, 0, REST, &memory, 0, false) == FOSP_REFUSED_NONE);
    CHECK(memory.velocity_budget_urad_s == 500000);
    CHECK(ask(FOSP_MODE_VELOCITY, 0, REST, &memory, 50001, false) == FOSP_REFUSED_NONE);
    CHECK(memory.velocity_budget_urad_s == 1000000);
    CHECK(memory.position_budget_urad == 100000);
    memory.velocity_budget_urad_s = 0;
    memory.position_budget_urad = 0;
    CHECK(ask(FOSP_MODE_VELOCITY, 0, REST, &memory, 100001, false) == FOSP_REFUSED_NONE);
    CHECK(memory.velocity_budget_urad_s == 1000000);
    memory.velocity_budget_urad_s = 0;
    CHECK(ask(FOSP_MODE_VELOCITY, 0, REST, &memory, UINT64_MAX, false) == FOSP_REFUSED_NONE);
    CHECK(memory.velocity_budget_urad_s == 1000000);
}

static void test_velocity(void) {
    fosp_memory_t memory = fresh();
    CHECK(ask_fresh(FOSP_MODE_VELOCITY, 1000000, 0, 0) == FOSP_REFUSED_NONE);
    CHECK(ask_fresh(FOSP_MODE_VELOCITY, -1000000, 0, 0) == FOSP_REFUSED_NONE);
    CHECK(ask_fresh(FOSP_MODE_VELOCITY, 1000001, 0, 0) == FOSP_REFUSED_VELOCITY);
    CHECK(ask_fresh(FOSP_MODE_VELOCITY, -1000001, 0, 0) == FOSP_REFUSED_VELOCITY);
    CHECK(ask_fresh(FOSP_MODE_VELOCITY, INT32_MIN, 0, 0) == FOSP_REFUSED_VELOCITY);
    /* braking from 1 rad/s at 10 rad/s^2 takes 0.05 rad */
    CHECK(ask_fresh(FOSP_MODE_VELOCITY, 1000000, 1950000, 0) == FOSP_REFUSED_NONE);
    CHECK(ask_fresh(FOSP_MODE_VELOCITY, 1000000, 1950001, 0) == FOSP_REFUSED_POSITION);
    CHECK(ask_fresh(FOSP_MODE_VELOCITY, -1000000, -1950000, 0) == FOSP_REFUSED_NONE);
    CHECK(ask_fresh(FOSP_MODE_VELOCITY, -1000000, -1950001, 0) == FOSP_REFUSED_POSITION);
    CHECK(ask_fresh(FOSP_MODE_VELOCITY, -1000000, 5000000, 0) == FOSP_REFUSED_NONE);
    CHECK(ask_fresh(FOSP_MODE_VELOCITY, 0, 5000000, 0) == FOSP_REFUSED_NONE);
    CHECK(ask_fresh(FOSP_MODE_VELOCITY, 0, -5000000, 0) == FOSP_REFUSED_NONE);
    /* speeding up is charged, slowing down is free, reversing is charged in full */
    CHECK(ask(FOSP_MODE_VELOCITY, 300000, REST, &memory, 0, false) == FOSP_REFUSED_NONE);
    CHECK(memory.velocity_target_urad_s == 300000);
    CHECK(memory.velocity_budget_urad_s == 700000);
    CHECK(ask(FOSP_MODE_VELOCITY, 100000, REST, &memory, 0, false) == FOSP_REFUSED_NONE);
    CHECK(memory.velocity_budget_urad_s == 700000);
    CHECK(ask(FOSP_MODE_VELOCITY, -100000, REST, &memory, 0, false) == FOSP_REFUSED_NONE);
    CHECK(memory.velocity_budget_urad_s == 500000);
    CHECK(ask(FOSP_MODE_VELOCITY, 0, REST, &memory, 0, false) == FOSP_REFUSED_NONE);
    CHECK(memory.velocity_budget_urad_s == 500000);
    CHECK(ask(FOSP_MODE_VELOCITY, 500001, REST, &memory, 0, false) == FOSP_REFUSED_ACCELERATION);
    CHECK(memory.velocity_target_urad_s == 0);
    CHECK(ask(FOSP_MODE_VELOCITY, 500000, REST, &memory, 0, false) == FOSP_REFUSED_NONE);
    CHECK(memory.velocity_budget_urad_s == 0);
    CHECK(ask(FOSP_MODE_VELOCITY, 500000, REST, &memory, 0, false) == FOSP_REFUSED_NONE);
    /* stopping is free even with nothing left, and so nothing but stopping is possible */
    CHECK(ask(FOSP_MODE_VELOCITY, 0, REST, &memory, 0, false) == FOSP_REFUSED_NONE);
    CHECK(memory.velocity_target_urad_s == 0);
    CHECK(ask(FOSP_MODE_VELOCITY, -1, REST, &memory, 0, false) == FOSP_REFUSED_ACCELERATION);
    /* a change of mode starts from rest */
    CHECK(ask(FOSP_MODE_VELOCITY, 1, REST, &memory, 0, true) == FOSP_REFUSED_ACCELERATION);
}

static void test_position(void) {
    const fosp_measured_t here = {300000, 0};
    fosp_memory_t memory = fresh();
    CHECK(ask_fresh(FOSP_MODE_POSITION, 100000, 0, 0) == FOSP_REFUSED_NONE);
    CHECK(ask_fresh(FOSP_MODE_POSITION, -100000, 0, 0) == FOSP_REFUSED_NONE);
    CHECK(ask_fresh(FOSP_MODE_POSITION, 100001, 0, 0) == FOSP_REFUSED_VELOCITY);
    CHECK(ask_fresh(FOSP_MODE_POSITION, -100001, 0, 0) == FOSP_REFUSED_VELOCITY);
    CHECK(ask_fresh(FOSP_MODE_POSITION, 100000, -300000, 0) == FOSP_REFUSED_NONE);
    CHECK(ask_fresh(FOSP_MODE_POSITION, 100000, -300001, 0) == FOSP_REFUSED_DISTANCE);
    CHECK(ask_fresh(FOSP_MODE_POSITION, -100000, 300001, 0) == FOSP_REFUSED_DISTANCE);
    CHECK(ask_fresh(FOSP_MODE_POSITION, 2000001, 2000000, 0) == FOSP_REFUSED_POSITION);
    CHECK(ask_fresh(FOSP_MODE_POSITION, -2000001, -2000000, 0) == FOSP_REFUSED_POSITION);
    /* the limits themselves are allowed, and a change of mode starts from here */
    {
        const fosp_measured_t upper = {1990000, 0};
        const fosp_measured_t lower = {-1990000, 0};
        memory = fresh();
        CHECK(ask(FOSP_MODE_POSITION, 2000000, upper, &memory, 0, true) == FOSP_REFUSED_NONE);
        memory = fresh();
        CHECK(ask(FOSP_MODE_POSITION, -2000000, lower, &memory, 0, true) == FOSP_REFUSED_NONE);
    }
    memory = fresh();
    CHECK(ask(FOSP_MODE_POSITION, 390000, here, &memory, 0, true) == FOSP_REFUSED_NONE);
    CHECK(memory.position_target_urad == 390000);
    CHECK(memory.position_budget_urad == 10000);
    CHECK(ask(FOSP_MODE_POSITION, 379999, here, &memory, 0, false) == FOSP_REFUSED_VELOCITY);
    CHECK(memory.position_target_urad == 390000);
    CHECK(ask(FOSP_MODE_POSITION, 380000, here, &memory, 0, false) == FOSP_REFUSED_NONE);
}

static void test_effort(void) {
    CHECK(ask_fresh(FOSP_MODE_EFFORT, 3000, 0, 0) == FOSP_REFUSED_NONE);
    CHECK(ask_fresh(FOSP_MODE_EFFORT, -3000, 0, 0) == FOSP_REFUSED_NONE);
    CHECK(ask_fresh(FOSP_MODE_EFFORT, 3001, 0, 0) == FOSP_REFUSED_EFFORT);
    CHECK(ask_fresh(FOSP_MODE_EFFORT, -3001, 0, 0) == FOSP_REFUSED_EFFORT);
    CHECK(ask_fresh(FOSP_MODE_EFFORT, 1, 2000000, 0) == FOSP_REFUSED_POSITION);
    CHECK(ask_fresh(FOSP_MODE_EFFORT, 1, 1999999, 0) == FOSP_REFUSED_NONE);
    CHECK(ask_fresh(FOSP_MODE_EFFORT, -1, 2000000, 0) == FOSP_REFUSED_NONE);
    CHECK(ask_fresh(FOSP_MODE_EFFORT, -1, -2000000, 0) == FOSP_REFUSED_POSITION);
    CHECK(ask_fresh(FOSP_MODE_EFFORT, -1, -1999999, 0) == FOSP_REFUSED_NONE);
    CHECK(ask_fresh(FOSP_MODE_EFFORT, 1, 0, 1000000) == FOSP_REFUSED_VELOCITY);
    CHECK(ask_fresh(FOSP_MODE_EFFORT, 1, 0, 999999) == FOSP_REFUSED_NONE);
    CHECK(ask_fresh(FOSP_MODE_EFFORT, 1, 0, -1000000) == FOSP_REFUSED_NONE);
    CHECK(ask_fresh(FOSP_MODE_EFFORT, -1, 0, -1000000) == FOSP_REFUSED_VELOCITY);
    CHECK(ask_fresh(FOSP_MODE_EFFORT, -1, 0, -999999) == FOSP_REFUSED_NONE);
    CHECK(ask_fresh(FOSP_MODE_EFFORT, -1, 0, 1000000) == FOSP_REFUSED_NONE);
    CHECK(ask_fresh(FOSP_MODE_EFFORT, 0, 5000000, 5000000) == FOSP_REFUSED_NONE);
    CHECK(ask_fresh(FOSP_MODE_EFFORT, 0, -5000000, -5000000) == FOSP_REFUSED_NONE);
}

static void test_refused_as_a_whole(void) {
    const fosp_limits_t limits[2] = {LIMITS, LIMITS};
    const fosp_measured_t measured[2] = {REST, REST};
    const int32_t targets[2] = {500000, 5000000};
    const int32_t good[2] = {500000, -500000};
    fosp_memory_t memory[2];
    uint32_t joint = 99;
    memory[0] = fresh();
    memory[1] = fresh();
    CHECK(fosp_check_command(FOSP_MODE_VELOCITY, targets, 2, limits, measured, memory, 0, false, &joint) ==
          FOSP_REFUSED_VELOCITY);
    CHECK(joint == 1u);
    CHECK(memory[0].velocity_target_urad_s == 0);
    CHECK(memory[0].velocity_budget_urad_s == 1000000);
    CHECK(fosp_check_command(FOSP_MODE_VELOCITY, good, 2, limits, measured, memory, 0, false, &joint) ==
          FOSP_REFUSED_NONE);
    CHECK(joint == 0u);
    CHECK(memory[1].velocity_target_urad_s == -500000);
}

static void test_following(void) {
    fosp_limits_t gentle = LIMITS;
    CHECK(fosp_wanted_velocity(&LIMITS, 0, 0) == 0);
    CHECK(fosp_wanted_velocity(&LIMITS, 0, 1000) == 10000);
    CHECK(fosp_wanted_velocity(&LIMITS, 0, -1000) == -10000);
    CHECK(fosp_wanted_velocity(&LIMITS, -1000000, 1000000) == 1000000);
    gentle.acceleration_max_urad_s2 = 1000000;
    CHECK(fosp_wanted_velocity(&gentle, 0, 250000) == 500000);
    CHECK(fosp_wanted_velocity(&gentle, 0, 249999) == 499998);
    CHECK(fosp_wanted_velocity(&gentle, 250000, 0) == -500000);
    CHECK(fosp_slew(&LIMITS, 0, 500000, 1000) == 10000);
    CHECK(fosp_slew(&LIMITS, 0, -500000, 1000) == -10000);
    CHECK(fosp_slew(&LIMITS, 495000, 500000, 1000) == 500000);
    CHECK(fosp_slew(&LIMITS, -5, 3, 1000) == 3);
    CHECK(fosp_slew(&LIMITS, 7, 7, 1000) == 7);
    gentle.acceleration_max_urad_s2 = 1000;
    CHECK(fosp_slew(&gentle, 0, 50, 1) == 1);
    CHECK(fosp_slew(&gentle, 0, 50, 3000) == 3);
}

static void test_over_velocity(void) {
    const fosp_measured_t fast = {0, 2500001};
    const fosp_measured_t back = {0, -2500001};
    const fosp_measured_t edge = {0, 2500000};
    CHECK(fosp_over_velocity(&LIMITS, &fast));
    CHECK(fosp_over_velocity(&LIMITS, &back));
    CHECK(!fosp_over_velocity(&LIMITS, &edge));
}

int main(void) {
    test_limits_valid();
    test_fresh_memory();
    test_refill();
    test_velocity();
    test_position();
    test_effort();
    test_refused_as_a_whole();
    test_following();
    test_over_velocity();
    return (failures == 0) ? 0 : 1;
}
