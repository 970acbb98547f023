/* The core on an ST Nucleo-F446RE: USART2 is the serial line of the board's own USB connector (1 Mbaud), SysTick the clock,
 * two brushed motors with encoders the joints. Compiled in CI; NOT YET RUN ON HARDWARE. */
#include "motors.h"
#include "registers.h"

#define CORE_HZ 16000000u /* the internal oscillator: 16 MHz / 16 is 1 Mbaud exactly */
#define TICK_US 1000u
#define RECEIVE_READY (1u << 5)
#define TRANSMIT_EMPTY (1u << 7)

extern uint32_t image_stack_top;

static ring_t received;
static volatile uint32_t ticks;

void on_tick(void);
void on_usart(void);

void on_tick(void) { ++ticks; }

void on_usart(void) {
    /* Reading status, then data, also clears overrun and noise flags; what they damaged fails its CRC. */
    if ((USART2_SR & (RECEIVE_READY | (1u << 3))) != 0u) {
        ring_put(&received, (uint8_t)(USART2_DR & 0xFFu));
    }
}

typedef void (*vector_t)(void);
__attribute__((section(".vectors"), used)) static const struct {
    uint32_t *stack_top;
    vector_t system[15];
    vector_t interrupts[USART2_INTERRUPT + 1u];
} VECTORS = {&image_stack_top,
             {runtime_reset, runtime_halt, runtime_halt, runtime_halt, runtime_halt, runtime_halt, runtime_halt,
              runtime_halt, runtime_halt, runtime_halt, runtime_halt, runtime_halt, runtime_halt, runtime_halt, on_tick},
             {[0 ... USART2_INTERRUPT - 1u] = runtime_halt, [USART2_INTERRUPT] = on_usart}};

static void set_up(void) {
    RCC_APB1ENR |= 1u << 17; /* USART2 */
    GPIO_AFRL(GPIOA) |= (7u << 8) | (7u << 12);
    GPIO_MODER(GPIOA) |= (2u << 4) | (2u << 6); /* PA2, PA3 */
    USART2_BRR = 0x10;
    USART2_CR1 = (1u << 13) | (1u << 5) | (1u << 3) | (1u << 2);
    NVIC_ENABLE(USART2_INTERRUPT / 32u) = 1u << (USART2_INTERRUPT % 32u);
    SYSTICK_RELOAD = (CORE_HZ / (1000000u / TICK_US)) - 1u;
    SYSTICK_CURRENT = 0;
    SYSTICK_CONTROL = 7;
    /* A hang resets the chip after 50 ms, and after a reset the motors are off: 32 kHz / 4, 400 counts. */
    IWDG_KEY = 0x5555u;
    IWDG_PRESCALER = 0;
    IWDG_RELOAD = 400;
    IWDG_KEY = 0xCCCCu;
}

static void transmit(fosp_controller_t *controller) {
    uint8_t byte;
    while (((USART2_SR & TRANSMIT_EMPTY) != 0u) && (fosp_controller_pull(controller, &byte, 1) == 1u)) {
        USART2_DR = byte;
    }
}

int main(void) {
    static fosp_controller_t controller;
    static fosp_feedback_t feedback;
    const uint32_t can = FOSP_CAN_VELOCITY | FOSP_CAN_POSITION | FOSP_CAN_DAMP;
    const fosp_identity_t identity = {MOTORS, can | ((ENDLESS != 0) ? FOSP_CAN_TURN_ENDLESSLY : 0u),
                                      "fosp-nucleo-f446re", "NUCLEO"};
    uint32_t done = 0;
    motors_init();
    fosp_controller_init(&controller, &identity);
    set_up();
    for (;;) {
        uint8_t bytes[64];
        const size_t length = ring_take(&received, bytes, sizeof(bytes));
        const uint32_t elapsed = ticks - done;
        if (length > 0u) {
            fosp_controller_receive(&controller, bytes, length);
        }
        if (elapsed > 0u) {
            done += elapsed;
            motors_read(elapsed * TICK_US, &feedback);
            fosp_controller_tick(&controller, elapsed * TICK_US, &feedback);
            motors_drive(&controller);
            IWDG_KEY = 0xAAAAu;
        }
        transmit(&controller);
    }
}
