/* The oracle of the limits. Twin of firmware_bridge/safety.py, integer for integer. PROTOCOL.md section 7. */
#ifndef FOSP_SAFETY_H
#define FOSP_SAFETY_H

#include <stdbool.h>
#include <stdint.h>

#include "protocol.h"

#define FOSP_BUDGET_WINDOW_US 100000u
#define FOSP_POSITION_GAIN_PER_S 10

typedef struct {
    int32_t position_min_urad;
    int32_t position_max_urad;
    int32_t velocity_max_urad_s;
    int32_t acceleration_max_urad_s2;
    int32_t effort_max_mnm;
    int32_t distance_max_urad;
    int32_t temperature_max_decidegree;
    int32_t current_max_ma;
} fosp_limits_t;

typedef struct {
    int32_t position_urad;
    int32_t velocity_urad_s;
} fosp_measured_t;

/* What the rules remember of one joint between commands. */
typedef struct {
    int64_t velocity_target_urad_s;
    int64_t velocity_budget_urad_s;
    int64_t position_target_urad;
    int64_t position_budget_urad;
} fosp_memory_t;

bool fosp_limits_valid(const fosp_limits_t *limits);
void fosp_memory_fresh(const fosp_limits_t *limits, const fosp_measured_t *measured, fosp_memory_t *memory);
bool fosp_stays_inside(const fosp_limits_t *limits, int64_t position_urad, int64_t velocity_urad_s);
bool fosp_effort_leaves(const fosp_limits_t *limits, const fosp_measured_t *measured, int32_t effort_mnm);
bool fosp_over_velocity(const fosp_limits_t *limits, const fosp_measured_t *measured);

/* Decides on targets for `count` joints (at most FOSP_MAX_JOINTS). `memory` is refilled in any case and charged only if the
 * answer is FOSP_REFUSED_NONE. `joint` receives the first joint that breaks a rule. `mode` is one of the three. */
enum fosp_refusal fosp_check_command(enum fosp_mode mode, const int32_t *targets, uint32_t count,
                                     const fosp_limits_t *limits, const fosp_measured_t *measured,
                                     fosp_memory_t *memory, uint64_t elapsed_us, bool mode_changed, uint32_t *joint);

int64_t fosp_wanted_velocity(const fosp_limits_t *limits, int32_t position_urad, int32_t target_urad);
int64_t fosp_slew(const fosp_limits_t *limits, int64_t setpoint_urad_s, int64_t target_urad_s, uint32_t dt_us);

#endif
