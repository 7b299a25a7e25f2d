// Ends a run with one line that a script can read.
import type { Reporter, TestCase, TestResult } from '@playwright/test/reporter';

export default class Summary implements Reporter {
  #outcomes = new Map<string, boolean>();

  onTestEnd(test: TestCase, result: TestResult): void {
    if (result.status !== 'skipped') this.#outcomes.set(test.id, result.status === test.expectedStatus);
  }

  onEnd(): void {
    const passed = [...this.#outcomes.values()].filter((ok) => ok).length;
    console.log(`${passed} passed, ${this.#outcomes.size - passed} failed`);
  }

  printsToStdio(): boolean {
    return false;
  }
}
