/* Joints made of integers: they follow velocity setpoints with a first-order lag and stop at once when held. What the host
 * build and the emulated board move instead of motors. */
#ifndef FOSP_SIM_JOINTS_H
#define FOSP_SIM_JOINTS_H

#include <stdbool.h>

#include "../core/controller.h"

#define SIM_LAG_US 20000
#define SIM_CAPABILITIES (FOSP_CAN_VELOCITY | FOSP_CAN_POSITION | FOSP_CAN_DAMP | FOSP_CAN_TEMPERATURE | FOSP_CAN_VOLTAGE)

typedef struct {
    uint32_t count;
    bool endless; /* wheels: their positions are told within one turn */
    int64_t position_nrad[FOSP_MAX_JOINTS]; /* nano-radians: a microsecond at a micro-radian per second still counts */
    int64_t velocity_urad_s[FOSP_MAX_JOINTS];
} sim_joints_t;

void sim_joints_init(sim_joints_t *self, uint32_t count, bool endless);
void sim_joints_read(const sim_joints_t *self, fosp_feedback_t *feedback);
void sim_joints_step(sim_joints_t *self, const fosp_controller_t *controller, uint32_t dt_us);

#endif
