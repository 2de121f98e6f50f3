plugins {
    alias(libs.plugins.android.application)
    alias(libs.plugins.kotlin.android)
}

// Shared with the Maven-only path in check/.
fun told(name: String): String = providers.gradleProperty("demo.$name").get()

android {
    namespace = "dev.edgekit.demo"
    compileSdk = 36

    defaultConfig {
        applicationId = "dev.edgekit.demo"
        minSdk = told("minSdk").toInt()
        targetSdk = told("targetSdk").toInt()
        versionCode = told("versionCode").toInt()
        versionName = told("versionName")
        ndk {
            abiFilters += listOf("arm64-v8a", "armeabi-v7a", "x86_64")
        }
    }

    buildTypes {
        release {
            // Everything is small already; the native code looks classes up by name.
            isMinifyEnabled = false
        }
    }

    androidResources {
        noCompress += "tflite"
    }

    compileOptions {
        sourceCompatibility = JavaVersion.VERSION_1_8
        targetCompatibility = JavaVersion.VERSION_1_8
    }

    lint {
        abortOnError = true
        // What runs on a phone that nobody has seen yet is not called an error for its age.
        disable += listOf("GradleDependency", "OldTargetApi")
    }
}

kotlin {
    compilerOptions {
        jvmTarget = org.jetbrains.kotlin.gradle.dsl.JvmTarget.JVM_1_8
    }
}

dependencies {
    implementation(libs.litert)
    implementation(libs.litert.gpu)
    implementation(libs.litert.gpu.api)
}
