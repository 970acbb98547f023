#include "motors.h"

#include "../core/turn.h"
#include "registers.h"

/* Duty per micro-radian/s and per micro-radian of error, as a division: to be tuned for the motors at hand. */
#define VELOCITY_ERROR_PER_DUTY 10000
#define VELOCITY_INTEGRAL_PER_DUTY 400000000
#define HOLD_ERROR_PER_DUTY 500
/* A motor told to push this hard that has not moved a single count for this long has lost its encoder or is blocked. */
#define STALL_DUTY (PWM_FULL / 2)
#define STALL_US 200000u

typedef struct {
    int64_t counts;
    uint32_t last_raw;
    int64_t position_urad;
    int64_t velocity_urad_s;
    int64_t hold_at_urad;
    int64_t integral;
    int32_t duty;
    uint32_t stalled_us;
} motor_t;

static motor_t motors[MOTORS];
static enum fosp_drive last_drive;

static int64_t clamp(int64_t value, int64_t bound) {
    if (value > bound) {
        return bound;
    }
    return (value < -bound) ? -bound : value;
}

/* Both inputs low coasts, both high brakes; a duty on one of them drives. */
static void set_bridge(uint32_t motor, uint32_t first, uint32_t second) {
    TIM_CCR(TIM3, 1u + (2u * motor)) = first;
    TIM_CCR(TIM3, 2u + (2u * motor)) = second;
}

static void set_duty(uint32_t motor, int64_t wanted) {
    const int32_t duty = (int32_t)clamp(wanted, PWM_FULL);
    motors[motor].duty = duty;
    set_bridge(motor, (duty > 0) ? (uint32_t)duty : 0u, (duty < 0) ? (uint32_t)-duty : 0u);
}

void motors_init(void) {
    RCC_AHB1ENR |= 7u;                               /* ports A, B, C */
    RCC_APB1ENR |= (1u << 0) | (1u << 1) | (1u << 2); /* TIM2, TIM3, TIM4 */
    /* The bridge first, at zero duty, before its pins leave their reset state (inputs: the bridge's pull-downs coast). */
    TIM_ARR(TIM3) = (uint32_t)PWM_FULL - 1u;
    TIM_CCMR1(TIM3) = 0x6868u; /* PWM mode 1, preloaded */
    TIM_CCMR2(TIM3) = 0x6868u;
    for (uint32_t motor = 0; motor < MOTORS; ++motor) {
        set_bridge(motor, 0, 0);
    }
    TIM_CCER(TIM3) = 0x1111u;
    TIM_EGR(TIM3) = 1;
    TIM_CR1(TIM3) = 1;
    GPIO_AFRL(GPIOC) |= (2u << 24) | (2u << 28);
    GPIO_AFRH(GPIOC) |= (2u << 0) | (2u << 4);
    GPIO_MODER(GPIOC) |= (2u << 12) | (2u << 14) | (2u << 16) | (2u << 18);

    GPIO_PUPDR(GPIOA) |= (1u << 0) | (1u << 2);
    GPIO_AFRL(GPIOA) |= (1u << 0) | (1u << 4);
    GPIO_MODER(GPIOA) |= (2u << 0) | (2u << 2);
    GPIO_PUPDR(GPIOB) |= (1u << 12) | (1u << 14);
    GPIO_AFRL(GPIOB) |= (2u << 24) | (2u << 28);
    GPIO_MODER(GPIOB) |= (2u << 12) | (2u << 14);
    TIM_SMCR(TIM2) = 3; /* count both edges of both inputs */
    TIM_SMCR(TIM4) = 3;
    TIM_CCMR1(TIM2) = 0x0101u;
    TIM_CCMR1(TIM4) = 0x0101u;
    TIM_ARR(TIM2) = 0xFFFFu;
    TIM_ARR(TIM4) = 0xFFFFu;
    TIM_CR1(TIM2) = 1;
    TIM_CR1(TIM4) = 1;
    last_drive = FOSP_DRIVE_OFF;
}

void motors_read(uint32_t dt_us, fosp_feedback_t *feedback) {
    const uint32_t raw[MOTORS] = {TIM_CNT(TIM2) & 0xFFFFu, TIM_CNT(TIM4) & 0xFFFFu};
    feedback->valid = true;
    feedback->voltage_mv = 0;
    for (uint32_t motor = 0; motor < MOTORS; ++motor) {
        motor_t *self = &motors[motor];
        const uint32_t forward = (raw[motor] - self->last_raw) & 0xFFFFu;
        const int64_t moved = (forward < 0x8000u) ? (int64_t)forward : ((int64_t)forward - 0x10000);
        const int64_t velocity = (moved * FOSP_TURN_URAD / ENCODER_COUNTS_PER_TURN) * 1000000 / (int64_t)dt_us;
        self->last_raw = raw[motor];
        self->counts += moved;
        self->position_urad = self->counts * FOSP_TURN_URAD / ENCODER_COUNTS_PER_TURN;
        /* One count per millisecond is 1.5 rad/s: a single difference is too coarse, so an eighth of each is taken. */
        self->velocity_urad_s += (velocity - self->velocity_urad_s) / 8;
        /* Holding still against gravity is no stall; only a motor that is told to turn is suspected. */
        if ((last_drive == FOSP_DRIVE_VELOCITY) && (moved == 0) &&
            ((self->duty >= STALL_DUTY) || (self->duty <= -STALL_DUTY))) {
            self->stalled_us += dt_us;
        } else {
            self->stalled_us = 0;
        }
        if (self->stalled_us > STALL_US) {
            feedback->valid = false;
        }
        feedback->measured[motor].position_urad =
            (ENDLESS != 0) ? fosp_within_a_turn(self->position_urad)
                           : (int32_t)clamp(self->position_urad, FOSP_POSITION_MAX_URAD);
        feedback->measured[motor].velocity_urad_s = (int32_t)clamp(self->velocity_urad_s, FOSP_VELOCITY_MAX_URAD_S);
        feedback->currents_ma[motor] = 0;
        feedback->temperatures_decidegree[motor] = 0;
    }
}

void motors_drive(const fosp_controller_t *controller) {
    for (uint32_t motor = 0; motor < MOTORS; ++motor) {
        motor_t *self = &motors[motor];
        if (controller->drive == FOSP_DRIVE_VELOCITY) {
            const int64_t error = controller->setpoints[motor] - self->velocity_urad_s;
            self->integral = clamp(self->integral + error, (int64_t)PWM_FULL * VELOCITY_INTEGRAL_PER_DUTY);
            set_duty(motor, (error / VELOCITY_ERROR_PER_DUTY) + (self->integral / VELOCITY_INTEGRAL_PER_DUTY));
        } else if (controller->drive == FOSP_DRIVE_HOLD) {
            if (last_drive != FOSP_DRIVE_HOLD) {
                self->hold_at_urad = self->position_urad;
            }
            self->integral = 0;
            set_duty(motor, ((self->hold_at_urad - self->position_urad) / HOLD_ERROR_PER_DUTY) -
                                (self->velocity_urad_s / VELOCITY_ERROR_PER_DUTY));
        } else {
            const uint32_t level = (controller->drive == FOSP_DRIVE_DAMP) ? (uint32_t)PWM_FULL : 0u;
            self->integral = 0;
            self->duty = 0;
            set_bridge(motor, level, level);
        }
    }
    last_drive = controller->drive;
}
