/* The core on an emulated Cortex-M3 (`qemu-system-arm -M lm3s6965evb`): UART0 is the host's serial line, SysTick the clock,
 * the joints are simulated on the chip. */
#include "../bare/runtime.h"
#include "../sim/joints.h"

#define UART_DATA REGISTER(0x4000C000u)
#define UART_FLAGS REGISTER(0x4000C018u)
#define UART_LINE_CONTROL REGISTER(0x4000C02Cu)
#define UART_CONTROL REGISTER(0x4000C030u)
#define UART_FIFO_LEVEL REGISTER(0x4000C034u)
#define UART_INTERRUPT_MASK REGISTER(0x4000C038u)
#define UART_INTERRUPT_CLEAR REGISTER(0x4000C044u)
#define RECEIVE_EMPTY (1u << 4)
#define TRANSMIT_FULL (1u << 5)
#define RECEIVE_INTERRUPTS ((1u << 4) | (1u << 6)) /* level and timeout */
#define UART0_INTERRUPT 5u

#define CORE_HZ 12500000u /* reset value of RCC: PLL / 16 */
#define TICK_US 1000u
#define JOINTS 6u

extern uint32_t image_stack_top;

static ring_t received;
static volatile uint32_t ticks;

void on_tick(void);
void on_uart(void);

void on_tick(void) { ++ticks; }

void on_uart(void) {
    while ((UART_FLAGS & RECEIVE_EMPTY) == 0u) {
        ring_put(&received, (uint8_t)(UART_DATA & 0xFFu));
    }
    UART_INTERRUPT_CLEAR = RECEIVE_INTERRUPTS;
}

typedef void (*vector_t)(void);
__attribute__((section(".vectors"), used)) static const struct {
    uint32_t *stack_top;
    vector_t system[15];
    vector_t interrupts[6];
} VECTORS = {&image_stack_top,
             {runtime_reset, runtime_halt, runtime_halt, runtime_halt, runtime_halt, runtime_halt, runtime_halt,
              runtime_halt, runtime_halt, runtime_halt, runtime_halt, runtime_halt, runtime_halt, runtime_halt, on_tick},
             {runtime_halt, runtime_halt, runtime_halt, runtime_halt, runtime_halt, on_uart}};

static void set_up(void) {
    UART_LINE_CONTROL = (3u << 5) | (1u << 4); /* 8 bits, FIFOs on */
    UART_FIFO_LEVEL = 0;                       /* interrupt early: latency counts more than interrupts */
    UART_CONTROL = (1u << 0) | (1u << 8) | (1u << 9);
    UART_INTERRUPT_MASK = RECEIVE_INTERRUPTS;
    NVIC_ENABLE(0) = 1u << UART0_INTERRUPT;
    SYSTICK_RELOAD = (CORE_HZ / (1000000u / TICK_US)) - 1u;
    SYSTICK_CURRENT = 0;
    SYSTICK_CONTROL = 7; /* core clock, interrupt, on */
}

static void transmit(fosp_controller_t *controller) {
    uint8_t byte;
    while (((UART_FLAGS & TRANSMIT_FULL) == 0u) && (fosp_controller_pull(controller, &byte, 1) == 1u)) {
        UART_DATA = byte;
    }
}

int main(void) {
    static fosp_controller_t controller;
    static sim_joints_t joints;
    static fosp_feedback_t feedback;
    const fosp_identity_t identity = {JOINTS, SIM_CAPABILITIES, "fosp-qemu-cortex-m3", "QEMU0001"};
    uint32_t done = 0;
    sim_joints_init(&joints, JOINTS, false);
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
            sim_joints_read(&joints, &feedback);
            fosp_controller_tick(&controller, elapsed * TICK_US, &feedback);
            sim_joints_step(&joints, &controller, elapsed * TICK_US);
        }
        transmit(&controller);
        if ((received.read == received.written) && (ticks == done)) {
            /* An interrupt between the test and here is kept pending and ends the wait at once: with interrupts masked,
             * WFI still wakes on one. */
            __asm volatile("cpsid i" ::: "memory");
            if ((received.read == received.written) && (ticks == done)) {
                __asm volatile("wfi" ::: "memory");
            }
            __asm volatile("cpsie i" ::: "memory");
        }
    }
}
