/* The registers this port uses, from ST's reference manual RM0390. No vendor package: nothing to download, nothing hidden. */
#ifndef FOSP_NUCLEO_REGISTERS_H
#define FOSP_NUCLEO_REGISTERS_H

#include "../bare/runtime.h"

#define RCC_AHB1ENR REGISTER(0x40023830u)
#define RCC_APB1ENR REGISTER(0x40023840u)

#define GPIOA 0x40020000u
#define GPIOB 0x40020400u
#define GPIOC 0x40020800u
#define GPIO_MODER(port) REGISTER((port) + 0x00u)
#define GPIO_PUPDR(port) REGISTER((port) + 0x0Cu)
#define GPIO_AFRL(port) REGISTER((port) + 0x20u)
#define GPIO_AFRH(port) REGISTER((port) + 0x24u)

#define USART2_SR REGISTER(0x40004400u)
#define USART2_DR REGISTER(0x40004404u)
#define USART2_BRR REGISTER(0x40004408u)
#define USART2_CR1 REGISTER(0x4000440Cu)
#define USART2_INTERRUPT 38u

#define TIM2 0x40000000u
#define TIM3 0x40000400u
#define TIM4 0x40000800u
#define TIM_CR1(timer) REGISTER((timer) + 0x00u)
#define TIM_SMCR(timer) REGISTER((timer) + 0x08u)
#define TIM_EGR(timer) REGISTER((timer) + 0x14u)
#define TIM_CCMR1(timer) REGISTER((timer) + 0x18u)
#define TIM_CCMR2(timer) REGISTER((timer) + 0x1Cu)
#define TIM_CCER(timer) REGISTER((timer) + 0x20u)
#define TIM_CNT(timer) REGISTER((timer) + 0x24u)
#define TIM_ARR(timer) REGISTER((timer) + 0x2Cu)
#define TIM_CCR(timer, channel) REGISTER((timer) + 0x30u + (4u * (channel)))

#define IWDG_KEY REGISTER(0x40003000u)
#define IWDG_PRESCALER REGISTER(0x40003004u)
#define IWDG_RELOAD REGISTER(0x40003008u)

#endif
