// Starts the pages. Everything before this is in index.html, everything after it in App.svelte.
import { mount } from 'svelte';
import App from './App.svelte';
import './app.css';

const target = document.getElementById('app');
if (target) mount(App, { target });
