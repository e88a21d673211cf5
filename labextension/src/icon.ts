/** The chip in the side bar. */

export const CHIP =
  '<svg xmlns="http://www.w3.org/2000/svg" width="16" viewBox="0 0 12 12"><g class="jp-icon3" fill="#616161"><path d="M2.4 2.4h7.2v7.2H2.4Zm1.2 1.2v4.8h4.8V3.6Z"/><path d="M4 0h1v2H4zM7 0h1v2H7zM4 10h1v2H4zM7 10h1v2H7zM0 4h2v1H0zM0 7h2v1H0zM10 4h2v1h-2zM10 7h2v1h-2z"/></g></svg>';
