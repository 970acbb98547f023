/* What the three files of the controller share: motion.c (arming, drive, time), requests.c (what comes in), report.c (what
 * goes out). Not for ports. */
#ifndef FOSP_INTERNAL_H
#define FOSP_INTERNAL_H

#include "controller.h"

void fosp_count(fosp_controller_t *self, uint32_t counter);

void fosp_hold_now(fosp_controller_t *self);
void fosp_hold_if_on(fosp_controller_t *self);
void fosp_latch(fosp_controller_t *self, uint32_t fault, bool react);
enum fosp_result fosp_arm(fosp_controller_t *self);
void fosp_command(fosp_controller_t *self, const uint8_t *body, uint16_t sequence);

void fosp_send_ack(fosp_controller_t *self, uint8_t request, uint16_t sequence, enum fosp_result result,
                   uint32_t detail);
void fosp_send_identity(fosp_controller_t *self, uint8_t type, uint16_t sequence, uint32_t session);
void fosp_send_limits(fosp_controller_t *self, uint16_t sequence, uint8_t joint);
void fosp_send_counters(fosp_controller_t *self, uint16_t sequence);
void fosp_send_telemetry(fosp_controller_t *self);
uint32_t fosp_joint_errors(const fosp_controller_t *self, uint32_t joint);

#endif
