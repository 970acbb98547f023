/* Two brushed motors with quadrature encoders, each behind an H-bridge with two PWM inputs (DRV8871 and the like).
 *
 *   joint 0: encoder PA0, PA1 (TIM2); bridge PC6, PC7 (TIM3 channels 1, 2)
 *   joint 1: encoder PB6, PB7 (TIM4); bridge PC8, PC9 (TIM3 channels 3, 4) */
#ifndef FOSP_NUCLEO_MOTORS_H
#define FOSP_NUCLEO_MOTORS_H

#include "../core/controller.h"

#define MOTORS 2u
#define ENCODER_COUNTS_PER_TURN 4096
/* 1 for the wheels of a base: `make nucleo ENDLESS=1`. */
#ifndef ENDLESS
#define ENDLESS 0
#endif
#define PWM_FULL 800 /* 16 MHz / 800 = 20 kHz */

void motors_init(void);
/* Reads the encoders; `dt_us` is the time since the last reading. */
void motors_read(uint32_t dt_us, fosp_feedback_t *feedback);
void motors_drive(const fosp_controller_t *controller);

#endif
