#include "bytes.h"
#include "internal.h"

void fosp_controller_init(fosp_controller_t *self, const fosp_identity_t *identity) {
    uint8_t *raw = (uint8_t *)self;
    for (size_t at = 0; at < sizeof(*self); ++at) {
        raw[at] = 0u;
    }
    self->identity = *identity;
    if (self->identity.joint_count > FOSP_MAX_JOINTS) {
        self->identity.joint_count = FOSP_MAX_JOINTS;
    }
    self->state = FOSP_UNCONNECTED;
    self->drive = FOSP_DRIVE_OFF;
    self->mode = FOSP_MODE_NONE;
    self->watchdog_timeout_us = FOSP_WATCHDOG_DEFAULT_US;
    self->reaction = FOSP_REACTION_STOP;
    self->telemetry_period_us = FOSP_TELEMETRY_DEFAULT_US;
    fosp_decoder_init(&self->decoder);
    self->own_sequence = 1;
    fosp_send_identity(self, FOSP_BOOT, self->own_sequence, 0);
}

void fosp_hold_now(fosp_controller_t *self) {
    self->ramping = false;
    self->drive = FOSP_DRIVE_HOLD;
    for (uint32_t joint = 0; joint < FOSP_MAX_JOINTS; ++joint) {
        self->setpoints[joint] = 0;
    }
}

/* A limp arm may be in somebody's hands: nothing but ARM switches torque on. */
void fosp_hold_if_on(fosp_controller_t *self) {
    if (self->drive != FOSP_DRIVE_OFF) {
        fosp_hold_now(self);
    }
}

void fosp_latch(fosp_controller_t *self, uint32_t fault, bool react) {
    const bool was_armed = (self->state == FOSP_ARMED);
    if ((self->faults & fault) == 0u) {
        fosp_count(self, FOSP_COUNT_FAULTS_LATCHED);
    }
    self->faults |= fault;
    if (self->state != FOSP_UNCONNECTED) {
        self->state = FOSP_FAULT;
    }
    if (!react || !was_armed) {
        return;
    }
    if ((self->reaction == FOSP_REACTION_STOP) && (self->drive == FOSP_DRIVE_VELOCITY)) {
        self->ramping = true;
        return;
    }
    fosp_hold_now(self);
    if ((self->reaction == FOSP_REACTION_DAMP) && ((self->identity.capabilities & FOSP_CAN_DAMP) != 0u)) {
        self->drive = FOSP_DRIVE_DAMP;
    }
}

enum fosp_result fosp_arm(fosp_controller_t *self) {
    if (self->state == FOSP_FAULT) {
        return FOSP_FAULT_LATCHED;
    }
    if (self->state == FOSP_ARMED) {
        return FOSP_OK;
    }
    for (uint32_t joint = 0; joint < self->identity.joint_count; ++joint) {
        if (!self->has_limits[joint]) {
            return FOSP_LIMITS_MISSING;
        }
    }
    if (!self->feedback.valid) {
        return FOSP_FEEDBACK_MISSING;
    }
    for (uint32_t joint = 0; joint < self->identity.joint_count; ++joint) {
        self->armed_limits[joint] = self->limits[joint];
        fosp_memory_fresh(&self->limits[joint], &self->feedback.measured[joint], &self->memory[joint]);
    }
    self->mode = FOSP_MODE_NONE;
    self->refusal = FOSP_REFUSED_NONE;
    fosp_hold_now(self);
    self->fed_us = self->ticks_us;
    self->checked_us = self->ticks_us;
    self->state = FOSP_ARMED;
    return FOSP_OK;
}

static void refuse(fosp_controller_t *self, enum fosp_refusal why) {
    self->refusal = why;
    fosp_count(self, (uint32_t)FOSP_COUNT_REFUSED + (uint32_t)why);
    if (self->state == FOSP_ARMED) {
        fosp_hold_now(self);
    }
}

static bool offered(const fosp_controller_t *self, uint8_t mode) {
    const uint32_t can = self->identity.capabilities;
    return ((mode == (uint8_t)FOSP_MODE_VELOCITY) && ((can & FOSP_CAN_VELOCITY) != 0u)) ||
           ((mode == (uint8_t)FOSP_MODE_POSITION) && ((can & FOSP_CAN_POSITION) != 0u)) ||
           ((mode == (uint8_t)FOSP_MODE_EFFORT) && ((can & FOSP_CAN_EFFORT) != 0u));
}

void fosp_command(fosp_controller_t *self, const uint8_t *body, uint16_t sequence) {
    int32_t targets[FOSP_MAX_JOINTS];
    const uint32_t count = body[1];
    enum fosp_mode mode;
    enum fosp_drive wanted;
    enum fosp_refusal refusal;
    uint32_t joint;
    if (self->state != FOSP_ARMED) {
        refuse(self, FOSP_REFUSED_NOT_ARMED);
        return;
    }
    if ((count != self->identity.joint_count) || !offered(self, body[0])) {
        refuse(self, FOSP_REFUSED_VALUE);
        return;
    }
    mode = (enum fosp_mode)body[0];
    for (uint32_t at = 0; at < count; ++at) {
        targets[at] = fosp_get_i32(&body[2u + (4u * at)]);
    }
    refusal = fosp_check_command(mode, targets, count, self->armed_limits, self->feedback.measured, self->memory,
                                 self->ticks_us - self->checked_us, mode != self->mode, &joint);
    self->checked_us = self->ticks_us;
    if (refusal != FOSP_REFUSED_NONE) {
        refuse(self, refusal);
        return;
    }
    fosp_count(self, FOSP_COUNT_COMMANDS_APPLIED);
    self->refusal = FOSP_REFUSED_NONE;
    self->command_sequence = sequence;
    self->fed_us = self->ticks_us;
    self->mode = mode;
    wanted = (mode == FOSP_MODE_EFFORT) ? FOSP_DRIVE_EFFORT : FOSP_DRIVE_VELOCITY;
    if (self->drive != wanted) {
        fosp_hold_now(self);
    }
    self->drive = wanted;
    for (uint32_t at = 0; at < count; ++at) {
        self->targets[at] = targets[at];
        if (wanted == FOSP_DRIVE_EFFORT) {
            self->setpoints[at] = targets[at];
        }
    }
}

static void watch(fosp_controller_t *self) {
    uint32_t errors = 0;
    for (uint32_t joint = 0; joint < self->identity.joint_count; ++joint) {
        errors |= fosp_joint_errors(self, joint);
    }
    if ((self->ticks_us - self->feedback_us) > FOSP_FEEDBACK_TIMEOUT_US) {
        fosp_latch(self, FOSP_FAULT_FEEDBACK_LOST, true);
    }
    if ((errors & FOSP_ERROR_OVER_TEMPERATURE) != 0u) {
        fosp_latch(self, FOSP_FAULT_OVER_TEMPERATURE, true);
    }
    if ((errors & FOSP_ERROR_OVER_CURRENT) != 0u) {
        fosp_latch(self, FOSP_FAULT_OVER_CURRENT, true);
    }
    if ((errors & FOSP_ERROR_OVER_VELOCITY) != 0u) {
        fosp_latch(self, FOSP_FAULT_OVER_VELOCITY, true);
    }
    if ((self->ticks_us - self->fed_us) > self->watchdog_timeout_us) {
        fosp_count(self, FOSP_COUNT_WATCHDOG_TRIPS);
        fosp_latch(self, FOSP_FAULT_WATCHDOG, true);
    }
}

static void guard_stop(fosp_controller_t *self) {
    fosp_count(self, FOSP_COUNT_GUARD_STOPS);
    fosp_hold_now(self);
}

static void move_with_effort(fosp_controller_t *self) {
    for (uint32_t joint = 0; joint < self->identity.joint_count; ++joint) {
        if (fosp_effort_leaves(&self->armed_limits[joint], &self->feedback.measured[joint],
                               (int32_t)self->setpoints[joint])) {
            guard_stop(self);
            return;
        }
    }
}

static void move_with_velocity(fosp_controller_t *self, uint32_t dt_us) {
    bool moving = false;
    for (uint32_t joint = 0; joint < self->identity.joint_count; ++joint) {
        const fosp_limits_t *limits = &self->armed_limits[joint];
        int64_t target = self->targets[joint];
        if (self->ramping) {
            target = 0;
        } else if (self->mode == FOSP_MODE_POSITION) {
            target = fosp_wanted_velocity(limits, self->feedback.measured[joint].position_urad, self->targets[joint]);
        } else {
            /* velocity mode: the target is the velocity */
        }
        self->setpoints[joint] = fosp_slew(limits, self->setpoints[joint], target, dt_us);
        moving = moving || (self->setpoints[joint] != 0);
    }
    for (uint32_t joint = 0; joint < self->identity.joint_count; ++joint) {
        if (!fosp_stays_inside(&self->armed_limits[joint], self->feedback.measured[joint].position_urad,
                               self->setpoints[joint])) {
            guard_stop(self);
            return;
        }
    }
    if (self->ramping && !moving) {
        fosp_hold_now(self);
    }
}

void fosp_controller_tick(fosp_controller_t *self, uint32_t dt_us, const fosp_feedback_t *feedback) {
    self->ticks_us += dt_us;
    if (feedback->valid) {
        self->feedback = *feedback;
        self->feedback_us = self->ticks_us;
    } else {
        self->feedback.valid = false;
    }
    if (self->state == FOSP_ARMED) {
        watch(self);
    }
    if ((self->state == FOSP_ARMED) || self->ramping) {
        if (self->drive == FOSP_DRIVE_EFFORT) {
            move_with_effort(self);
        } else if (self->drive == FOSP_DRIVE_VELOCITY) {
            move_with_velocity(self, dt_us);
        } else {
            /* held, limp or damped: nothing moves */
        }
    }
    if ((self->state != FOSP_UNCONNECTED) && (self->ticks_us >= self->next_telemetry_us)) {
        self->next_telemetry_us += self->telemetry_period_us;
        if (self->next_telemetry_us <= self->ticks_us) {
            self->next_telemetry_us = self->ticks_us + self->telemetry_period_us;
        }
        fosp_send_telemetry(self);
    }
}
