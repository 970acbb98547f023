#include "safety.h"

static int64_t size_of(int64_t value) { return (value < 0) ? -value : value; }

static int64_t smaller(int64_t a, int64_t b) { return (a < b) ? a : b; }

static int64_t larger(int64_t a, int64_t b) { return (a > b) ? a : b; }

static bool between(int32_t value, int32_t low, int32_t high) { return (value >= low) && (value <= high); }

/* What a rate gives in a time: at most 2e9 * 1e6 / 1e6, products below 2^51. */
static int64_t worth(int32_t rate_per_s, uint64_t time_us) {
    return ((int64_t)rate_per_s * (int64_t)time_us) / 1000000;
}

/* Integer square root, rounded down; bit by bit, so that no floating point unit or library is needed. */
static int64_t root_of(uint64_t value) {
    uint64_t rest = value;
    uint64_t root = 0;
    uint64_t bit = (uint64_t)1 << 62;
    while (bit > rest) {
        bit >>= 2;
    }
    while (bit != 0u) {
        if (rest >= (root + bit)) {
            rest -= root + bit;
            root = (root >> 1) + bit;
        } else {
            root >>= 1;
        }
        bit >>= 2;
    }
    return (int64_t)root;
}

bool fosp_limits_valid(const fosp_limits_t *limits) {
    return between(limits->position_min_urad, -FOSP_POSITION_MAX_URAD, FOSP_POSITION_MAX_URAD) &&
           between(limits->position_max_urad, -FOSP_POSITION_MAX_URAD, FOSP_POSITION_MAX_URAD) &&
           (limits->position_min_urad < limits->position_max_urad) &&
           between(limits->velocity_max_urad_s, 1, FOSP_VELOCITY_MAX_URAD_S) &&
           between(limits->acceleration_max_urad_s2, FOSP_ACCELERATION_MIN_URAD_S2, FOSP_ACCELERATION_MAX_URAD_S2) &&
           between(limits->effort_max_mnm, 1, FOSP_EFFORT_MAX_MNM) &&
           between(limits->distance_max_urad, 1, FOSP_POSITION_MAX_URAD) &&
           between(limits->temperature_max_decidegree, 1, FOSP_TEMPERATURE_MAX_DECIDEGREE) &&
           between(limits->current_max_ma, 1, FOSP_CURRENT_MAX_MA);
}

void fosp_memory_fresh(const fosp_limits_t *limits, const fosp_measured_t *measured, fosp_memory_t *memory) {
    memory->velocity_target_urad_s = 0;
    memory->velocity_budget_urad_s = worth(limits->acceleration_max_urad_s2, FOSP_BUDGET_WINDOW_US);
    memory->position_target_urad = measured->position_urad;
    memory->position_budget_urad = worth(limits->velocity_max_urad_s, FOSP_BUDGET_WINDOW_US);
}

static void refill(const fosp_limits_t *limits, fosp_memory_t *memory, uint64_t elapsed_us) {
    const uint64_t time_us = (elapsed_us > FOSP_BUDGET_WINDOW_US) ? FOSP_BUDGET_WINDOW_US : elapsed_us;
    memory->velocity_budget_urad_s =
        smaller(worth(limits->acceleration_max_urad_s2, FOSP_BUDGET_WINDOW_US),
                memory->velocity_budget_urad_s + worth(limits->acceleration_max_urad_s2, time_us));
    memory->position_budget_urad = smaller(worth(limits->velocity_max_urad_s, FOSP_BUDGET_WINDOW_US),
                                           memory->position_budget_urad + worth(limits->velocity_max_urad_s, time_us));
}

bool fosp_stays_inside(const fosp_limits_t *limits, int64_t position_urad, int64_t velocity_urad_s) {
    const int64_t distance = (velocity_urad_s * velocity_urad_s) / (2 * (int64_t)limits->acceleration_max_urad_s2);
    if (velocity_urad_s > 0) {
        return (position_urad + distance) <= limits->position_max_urad;
    }
    if (velocity_urad_s < 0) {
        return (position_urad - distance) >= limits->position_min_urad;
    }
    return true;
}

bool fosp_effort_leaves(const fosp_limits_t *limits, const fosp_measured_t *measured, int32_t effort_mnm) {
    if (effort_mnm > 0) {
        return measured->position_urad >= limits->position_max_urad;
    }
    return (effort_mnm < 0) && (measured->position_urad <= limits->position_min_urad);
}

bool fosp_over_velocity(const fosp_limits_t *limits, const fosp_measured_t *measured) {
    return size_of(measured->velocity_urad_s) >
           ((2 * (int64_t)limits->velocity_max_urad_s) + FOSP_OVER_VELOCITY_MARGIN_URAD_S);
}

static int64_t velocity_cost(int64_t previous, int64_t target) {
    if ((target >= smaller(0, previous)) && (target <= larger(0, previous))) {
        return 0;
    }
    return size_of(target - previous);
}

static enum fosp_refusal check_velocity(const fosp_limits_t *limits, const fosp_measured_t *measured,
                                        fosp_memory_t *memory, int64_t target) {
    const int64_t cost = velocity_cost(memory->velocity_target_urad_s, target);
    if (size_of(target) > limits->velocity_max_urad_s) {
        return FOSP_REFUSED_VELOCITY;
    }
    if (!fosp_stays_inside(limits, measured->position_urad, target)) {
        return FOSP_REFUSED_POSITION;
    }
    if (cost > memory->velocity_budget_urad_s) {
        return FOSP_REFUSED_ACCELERATION;
    }
    memory->velocity_budget_urad_s -= cost;
    memory->velocity_target_urad_s = target;
    return FOSP_REFUSED_NONE;
}

static enum fosp_refusal check_position(const fosp_limits_t *limits, const fosp_measured_t *measured,
                                        fosp_memory_t *memory, int64_t target) {
    const int64_t cost = size_of(target - memory->position_target_urad);
    if ((target < limits->position_min_urad) || (target > limits->position_max_urad)) {
        return FOSP_REFUSED_POSITION;
    }
    if (size_of(target - measured->position_urad) > limits->distance_max_urad) {
        return FOSP_REFUSED_DISTANCE;
    }
    if (cost > memory->position_budget_urad) {
        return FOSP_REFUSED_VELOCITY;
    }
    memory->position_budget_urad -= cost;
    memory->position_target_urad = target;
    return FOSP_REFUSED_NONE;
}

static enum fosp_refusal check_effort(const fosp_limits_t *limits, const fosp_measured_t *measured, int32_t target) {
    if (size_of(target) > limits->effort_max_mnm) {
        return FOSP_REFUSED_EFFORT;
    }
    if (fosp_effort_leaves(limits, measured, target)) {
        return FOSP_REFUSED_POSITION;
    }
    if (((target > 0) && (measured->velocity_urad_s >= limits->velocity_max_urad_s)) ||
        ((target < 0) && (measured->velocity_urad_s <= -limits->velocity_max_urad_s))) {
        return FOSP_REFUSED_VELOCITY;
    }
    return FOSP_REFUSED_NONE;
}

enum fosp_refusal fosp_check_command(enum fosp_mode mode, const int32_t *targets, uint32_t count,
                                     const fosp_limits_t *limits, const fosp_measured_t *measured,
                                     fosp_memory_t *memory, uint64_t elapsed_us, bool mode_changed, uint32_t *joint) {
    fosp_memory_t after[FOSP_MAX_JOINTS];
    for (uint32_t at = 0; at < count; ++at) {
        refill(&limits[at], &memory[at], elapsed_us);
        if (mode_changed) {
            memory[at].velocity_target_urad_s = 0;
            memory[at].position_target_urad = measured[at].position_urad;
        }
        after[at] = memory[at];
    }
    *joint = 0;
    for (uint32_t at = 0; at < count; ++at) {
        enum fosp_refusal refusal;
        if (mode == FOSP_MODE_VELOCITY) {
            refusal = check_velocity(&limits[at], &measured[at], &after[at], targets[at]);
        } else if (mode == FOSP_MODE_POSITION) {
            refusal = check_position(&limits[at], &measured[at], &after[at], targets[at]);
        } else {
            refusal = check_effort(&limits[at], &measured[at], targets[at]);
        }
        if (refusal != FOSP_REFUSED_NONE) {
            *joint = at;
            return refusal;
        }
    }
    for (uint32_t at = 0; at < count; ++at) {
        memory[at] = after[at];
    }
    return FOSP_REFUSED_NONE;
}

int64_t fosp_wanted_velocity(const fosp_limits_t *limits, int32_t position_urad, int32_t target_urad) {
    const int64_t error = (int64_t)target_urad - position_urad;
    const int64_t room = size_of(error);
    const int64_t braking = root_of((uint64_t)limits->acceleration_max_urad_s2 * (uint64_t)room);
    const int64_t size = smaller(smaller(FOSP_POSITION_GAIN_PER_S * room, limits->velocity_max_urad_s), braking);
    return (error > 0) ? size : -size;
}

int64_t fosp_slew(const fosp_limits_t *limits, int64_t setpoint_urad_s, int64_t target_urad_s, uint32_t dt_us) {
    const int64_t step = larger(1, worth(limits->acceleration_max_urad_s2, dt_us));
    return larger(setpoint_urad_s - step, smaller(setpoint_urad_s + step, target_urad_s));
}
