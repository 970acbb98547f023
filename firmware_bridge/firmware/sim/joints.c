#include "joints.h"

#include "../core/turn.h"

void sim_joints_init(sim_joints_t *self, uint32_t count, bool endless) {
    self->count = count;
    self->endless = endless;
    for (uint32_t joint = 0; joint < FOSP_MAX_JOINTS; ++joint) {
        self->position_nrad[joint] = 0;
        self->velocity_urad_s[joint] = 0;
    }
}

void sim_joints_read(const sim_joints_t *self, fosp_feedback_t *feedback) {
    for (uint32_t joint = 0; joint < FOSP_MAX_JOINTS; ++joint) {
        const int64_t position_urad = self->position_nrad[joint] / 1000;
        feedback->measured[joint].position_urad =
            self->endless ? fosp_within_a_turn(position_urad) : (int32_t)position_urad;
        feedback->measured[joint].velocity_urad_s = (int32_t)self->velocity_urad_s[joint];
        feedback->currents_ma[joint] = 0;
        feedback->temperatures_decidegree[joint] = 250;
    }
    feedback->voltage_mv = 12000;
    feedback->valid = true;
}

void sim_joints_step(sim_joints_t *self, const fosp_controller_t *controller, uint32_t dt_us) {
    const int64_t share_us = (dt_us < (uint32_t)SIM_LAG_US) ? (int64_t)dt_us : SIM_LAG_US;
    for (uint32_t joint = 0; joint < self->count; ++joint) {
        if (controller->drive == FOSP_DRIVE_VELOCITY) {
            const int64_t error = controller->setpoints[joint] - self->velocity_urad_s[joint];
            const int64_t change = (error * share_us) / SIM_LAG_US;
            /* The last few micro-radians per second would round to no change at all. */
            self->velocity_urad_s[joint] += (change != 0) ? change : error;
        } else {
            self->velocity_urad_s[joint] = 0;
        }
        self->position_nrad[joint] += (self->velocity_urad_s[joint] * (int64_t)dt_us) / 1000;
    }
}
